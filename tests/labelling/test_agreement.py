"""Agreement and aggregation: worked by hand, against the libraries, and where there is no number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.labelling.aggregation import bradley_terry, majority, one_coin
from heedful.labelling.agreement import (
    NO_PAIR,
    UNANIMOUS,
    Estimate,
    Kinds,
    cohen,
    fleiss,
    kendall,
    krippendorff,
    ranking_agreement,
    raw_agreement,
    statistics,
)

NAN = np.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D: four observers, twelve units.
CANONICAL = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


def random_table(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = rng.integers(1, rng.integers(3, 7), (rng.integers(4, 30), rng.integers(2, 6))).astype(float)
    table[rng.random(table.shape) < rng.uniform(0, 0.4)] = NAN
    return table


def kinds_of(ratings: np.ndarray) -> Kinds:
    """The units of a table of ratings, by how often each category was given."""
    ratings = np.asarray(ratings, float)
    there = ~np.isnan(ratings)
    kept = ratings[there.sum(1) >= 2] if ratings.size else ratings
    there = ~np.isnan(kept)
    categories, codes = np.unique(kept[there], return_inverse=True)
    counts = np.zeros((len(kept), len(categories)))
    np.add.at(counts, (np.nonzero(there)[0], codes), 1)
    kinds, number = np.unique(counts, axis=0, return_counts=True)
    return Kinds(kinds, number, categories)


def plain_bootstrap(rows, statistic, resamples: int) -> tuple[float, float]:
    """The percentile interval of a statistic over resampled items, as Efron 1979 has it."""
    rng = np.random.default_rng(0)
    drawn = ([rows[place] for place in rng.integers(0, len(rows), len(rows))] for _ in range(resamples))
    values = [value for value in map(statistic, drawn) if value is not None]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


class TestKrippendorff:
    @pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
    def test_the_published_example(self, level, alpha):
        assert krippendorff(kinds_of(CANONICAL), level).value == pytest.approx(alpha, abs=5e-4)

    @pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
    @pytest.mark.parametrize("seed", range(30))
    def test_as_the_library(self, level, seed):
        library = pytest.importorskip("krippendorff")
        table = random_table(seed)
        ours = krippendorff(kinds_of(table), level)
        if ours.value is not None:
            assert ours.value == pytest.approx(library.alpha(table.T, level_of_measurement=level), abs=1e-12)

    def test_by_hand(self):
        # Labels aa, ab: three a, one b.  D_o = (1·1·2)/(2-1)/4 = 1/2; D_e = 2·3·1/(4·3) = 1/2.
        assert krippendorff(kinds_of(np.array([[0.0, 0], [0, 1]]))).value == pytest.approx(0.0)

    def test_no_number_says_why(self):
        assert krippendorff(kinds_of(np.array([[1.0, 1], [1, 1]]))) == Estimate(None, 2, UNANIMOUS)
        assert krippendorff(kinds_of(np.array([[1.0, NAN], [NAN, 1]]))) == Estimate(None, 0, NO_PAIR)
        assert krippendorff(kinds_of(np.empty((0, 0)))) == Estimate(None, 0, NO_PAIR)

    @given(st.integers(0, 10_000))
    def test_names_of_categories_do_not_matter_to_the_nominal_one(self, seed):
        table = random_table(seed)
        renamed = np.where(np.isnan(table), NAN, (table * 7) % 11)
        assert krippendorff(kinds_of(renamed)).value == pytest.approx(krippendorff(kinds_of(table)).value)


class TestKappas:
    def test_cohen_by_hand(self):
        # Agreement 3/4; by chance 1/2·1/4 + 1/2·3/4 = 1/2.
        assert cohen([0, 0, 1, 1], [0, 1, 1, 1]).value == pytest.approx(0.5)

    @pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
    @pytest.mark.parametrize("seed", range(10))
    def test_cohen_as_the_library(self, weights, seed):
        metrics = pytest.importorskip("sklearn.metrics")
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, 4, 40), rng.integers(0, 4, 40)
        theirs = metrics.cohen_kappa_score(a, b, weights=None if weights == "none" else weights)
        assert cohen(a, b, weights).value == pytest.approx(theirs, abs=1e-12)

    @pytest.mark.parametrize("seed", range(10))
    def test_fleiss_as_the_library(self, seed):
        raters = pytest.importorskip("statsmodels.stats.inter_rater")
        table = np.random.default_rng(seed).integers(0, 3, (25, 4)).astype(float)
        counts, _ = raters.aggregate_raters(table.astype(int))
        assert fleiss(kinds_of(table)).value == pytest.approx(raters.fleiss_kappa(counts), abs=1e-12)

    def test_no_number_says_why(self):
        assert cohen([1, 1], [1, 1]).reason == UNANIMOUS
        assert cohen([NAN, 1], [1, NAN]).reason == "no item was labelled by both"
        assert fleiss(kinds_of(np.array([[1.0, 1.0]]))).reason == UNANIMOUS


def test_raw_agreement_by_hand():
    # aab: 1 of 3 pairs, of 3 labels; aa: 1 of 1, of 2.  (3·1/3 + 2·1) / 5 = 0.6
    assert raw_agreement(kinds_of(np.array([[0.0, 0, 1], [0, 0, NAN]]))) == Estimate(pytest.approx(0.6), 2)


class TestRankings:
    def test_kendall_by_hand(self):
        assert kendall([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
        assert kendall([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
        # Pairs ab, ac agree; bc is a tie in the second: 2 / sqrt(3·2)
        assert kendall([1, 2, 3], [1, 2, 2]) == pytest.approx(2 / 6**0.5)
        assert kendall([1, 1], [1, 2]) is None

    def test_each_item_counts_once(self):
        assert ranking_agreement([[[1, 2], [1, 2], [1, 2]], [[1, 2], [2, 1]], [[1, 2]]]).value == 0
        assert ranking_agreement([[[1, 1], [1, 2]]]).value is None


class TestIntervals:
    @pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
    @pytest.mark.parametrize("name", ["raw", "krippendorff_alpha", "fleiss_kappa"])
    def test_the_quick_bootstrap_is_the_plain_one(self, name, level):
        table = random_table(5)
        kept = table[(~np.isnan(table)).sum(1) >= 2]
        size = np.bincount((~np.isnan(kept)).sum(1)).argmax()

        def plain(rows):
            if name == "krippendorff_alpha":
                return krippendorff(kinds_of(np.array(rows)), level).value
            if name == "raw":
                return raw_agreement(kinds_of(np.array(rows))).value
            usual = [row for row in rows if (~np.isnan(row)).sum() == size]
            return fleiss(kinds_of(np.array(usual))).value if usual else None

        quick = statistics(kinds_of(table), level, resamples=4000)[name]
        low, high = plain_bootstrap(kept, plain, 4000)
        assert quick.low == pytest.approx(low, abs=0.04)
        assert quick.high == pytest.approx(high, abs=0.04)
        assert quick.low < quick.value < quick.high

    @pytest.mark.parametrize("weights", ["none", "quadratic"])
    def test_that_of_two_labellers_too(self, weights):
        rng = np.random.default_rng(3)
        first = rng.integers(0, 4, 60)
        second = np.where(rng.random(60) < 0.6, first, rng.integers(0, 4, 60))
        quick = cohen(first, second, weights)
        pairs = list(zip(first, second, strict=True))
        low, high = plain_bootstrap(pairs, lambda rows: cohen(*zip(*rows, strict=True), weights).value, 1000)
        assert quick.low == pytest.approx(low, abs=0.05)
        assert quick.high == pytest.approx(high, abs=0.05)

    def test_and_that_of_rankings(self):
        rng = np.random.default_rng(4)
        rankings = [[list(rng.permutation(4) + 1) for _ in range(3)] for _ in range(40)]
        quick = ranking_agreement(rankings)
        low, high = plain_bootstrap(rankings, lambda rows: ranking_agreement(rows).value, 1000)
        assert quick.low == pytest.approx(low, abs=0.05)
        assert quick.high == pytest.approx(high, abs=0.05)

    def test_one_item_has_none(self):
        found = statistics(kinds_of(np.array([[0.0, 1, 1]])))
        assert {one.low for one in found.values()} == {None}

    def test_it_covers_what_is_true(self):
        # Two labellers that agree by p and else guess among two: α → p.
        covered = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            truth = rng.integers(0, 2, 150)
            told = np.where(rng.random((150, 2)) < 0.8, truth[:, None], rng.integers(0, 2, (150, 2))).astype(float)
            found = statistics(kinds_of(told), resamples=400)["krippendorff_alpha"]
            covered += found.low <= 0.64 <= found.high  # both tell the truth of themselves: 0.8²
        assert covered >= 34


class TestMajority:
    def test_more_than_any_other(self):
        assert (majority("aab").label, majority("aab").share) == ("a", pytest.approx(2 / 3))

    @given(st.permutations("aabbc"))
    def test_equal_votes_are_undecided_whoever_was_first(self, votes):
        assert majority(votes).label is None

    def test_nobody(self):
        assert majority([]).label is None


class TestOneCoin:
    def made(self, accuracies: list[float], num: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 3, num)
        units, raters = np.meshgrid(np.arange(num), np.arange(len(accuracies)), indexing="ij")
        right = rng.random(units.shape) < np.array(accuracies)
        wrong = (truth[:, None] + rng.integers(1, 3, units.shape)) % 3
        labels = np.where(right, truth[:, None], wrong)
        return truth, units.ravel(), raters.ravel(), labels.ravel()

    def test_it_finds_out_who_is_good(self):
        accuracies = [0.95, 0.9, 0.5, 0.4, 0.4]
        truth, units, raters, labels = self.made(accuracies, 400)
        found = one_coin(units, raters, labels, 3)
        assert found.accuracy == pytest.approx(accuracies, abs=0.08)
        votes = np.array([majority(labels[units == u].tolist()).label for u in range(400)], dtype=object)
        assert (found.posterior.argmax(1) == truth).mean() > (votes == truth).mean() + 0.03
        assert found.posterior.sum(1) == pytest.approx(1)

    def test_numbers_of_raters_and_categories_do_not_matter(self):
        _, units, raters, labels = self.made([0.9, 0.7, 0.6], 60)
        one = one_coin(units, raters, labels, 3)
        other = one_coin(units, 2 - raters, 2 - labels, 3)
        assert other.posterior[:, ::-1] == pytest.approx(one.posterior, abs=1e-4)
        assert other.accuracy[::-1] == pytest.approx(one.accuracy, abs=1e-4)

    def test_nothing(self):
        empty = np.array([], int)
        assert one_coin(empty, empty, empty, 2).posterior.shape == (0, 2)


class TestBradleyTerry:
    def test_by_hand(self):
        # 3 to 1, and no prior to speak of: log 3 apart.
        found = bradley_terry(np.array([[0.0, 3], [1, 0]]), prior=1e-9)
        assert found.strength[0] - found.strength[1] == pytest.approx(np.log(3), abs=1e-6)

    def test_as_the_library(self):
        choix = pytest.importorskip("choix")
        rng = np.random.default_rng(0)
        wins = rng.integers(0, 20, (5, 5)).astype(float)
        np.fill_diagonal(wins, 0)
        games = [(i, j) for i in range(5) for j in range(5) for _ in range(int(wins[i, j]))]
        theirs = choix.opt_pairwise(5, games, alpha=0.1 / 2)
        assert bradley_terry(wins, prior=0.1).strength == pytest.approx(theirs - theirs.mean(), abs=1e-4)

    def test_errors_by_hand(self):
        # 100 games of 1/4 each, and the prior: information 50.1 along (1, -1)/√2, of which each has a half.
        found = bradley_terry(np.array([[0.0, 50], [50, 0]]), prior=0.1)
        assert found.error == pytest.approx([0.5**0.5 / 50.1**0.5] * 2)

    def test_the_error_of_a_model_that_met_nobody_is_the_priors(self):
        wins = np.zeros((3, 3))
        wins[0, 1] = wins[1, 0] = 50
        # Variance 1/50.1 along (1, -1, 0)/√2 and the prior's 10 along (1, 1, -2)/√6; none along (1, 1, 1).
        found = bradley_terry(wins, prior=0.1)
        near = (1 / 100.2 + 10 / 6) ** 0.5
        assert found.error == pytest.approx([near, near, (40 / 6) ** 0.5])
