"""How far labellers agree: Krippendorff's α, Cohen's κ, Fleiss' κ, raw agreement, Kendall's τ-b, with intervals.

A statistic that is not defined says why; it is never NaN, and never 1 because everybody said the same.

Axes: `U` units (items), `R` raters, `C` categories.  A table of ratings is U × R with NaN where nobody rated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]
Ratings = Float[np.ndarray, "U R"]
Counts = Float[np.ndarray, "U C"]

RESAMPLES = 1000
CONFIDENCE = 0.95

NO_PAIR = "no item has two labels"
UNANIMOUS = "all labels are identical"


@dataclass(frozen=True)
class Estimate:
    """A number, or why there is none; n: the units it is made of; low, high: its 95 % bootstrap interval."""

    value: float | None
    n: int
    reason: str | None = None
    low: float | None = None
    high: float | None = None


def raw_agreement(ratings: Ratings) -> Estimate:
    """The share of pairs of labels of one item that are equal, every item counting as its number of labels.

    Weighted as in Krippendorff's observed agreement: an item of m labels has m / (m (m - 1)) of each ordered pair.
    """
    return raw_of_counts(counts_of(ratings)[0])


def raw_of_counts(counts: Counts) -> Estimate:
    """The same from how often each unit got each category, of units with at least two labels."""
    if not len(counts):
        return Estimate(None, 0, NO_PAIR)
    sizes = counts.sum(1)
    equal = ((counts**2).sum(1) - sizes) / (sizes - 1)
    return Estimate(float(equal.sum() / sizes.sum()), len(counts))


def krippendorff(ratings: Ratings, level: Level = "nominal") -> Estimate:
    """α = 1 - Dₒ / Dₑ (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability), with missing labels.

    level: how far apart two categories are: not at all the same (nominal), by how many labels lie between them
    (ordinal), or by the square of their difference (interval).
    """
    counts, categories = counts_of(ratings)
    return _alpha(counts, categories, level)


def _alpha(counts: Counts, categories: Float[np.ndarray, " C"], level: Level) -> Estimate:
    if not len(counts):
        return Estimate(None, 0, NO_PAIR)
    totals = counts.sum(0)
    if np.count_nonzero(totals) < 2:
        return Estimate(None, len(counts), UNANIMOUS)
    distance = _distances(totals, categories, level)
    observed = np.einsum("uc,cd,ud->u", counts, distance, counts) / (counts.sum(1) - 1)
    expected = totals @ distance @ totals / (totals.sum() - 1)
    return Estimate(float(1 - observed.sum() / expected), len(counts))


def _distances(
    totals: Float[np.ndarray, " C"], categories: Float[np.ndarray, " C"], level: Level
) -> Float[np.ndarray, "C C"]:
    """Squared differences; ordinal: of the ranks that the labels of all units have, ties in the middle."""
    if level == "nominal":
        return 1.0 - np.eye(len(totals))
    places = categories if level == "interval" else np.cumsum(totals) - totals / 2
    return (places[:, None] - places[None, :]) ** 2


def cohen(first: Sequence[float], second: Sequence[float], weights: Weights = "none") -> Estimate:
    """κ of two raters on the same units (Cohen 1960; weighted: 1968), categories equally spaced in their order.

    Where one of the two is NaN the unit is left out.
    """
    table = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    table = table[~np.isnan(table).any(1)]
    if not len(table):
        return Estimate(None, 0, "no item was labelled by both")
    categories, codes = np.unique(table, return_inverse=True)
    if len(categories) < 2:
        return Estimate(None, len(table), UNANIMOUS)
    codes = codes.reshape(table.shape)
    joint = np.zeros((len(categories),) * 2)
    np.add.at(joint, (codes[:, 0], codes[:, 1]), 1 / len(table))
    apart = np.abs(np.subtract.outer(np.arange(len(categories)), np.arange(len(categories))))
    cost = {"none": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    expected = (np.outer(joint.sum(1), joint.sum(0)) * cost).sum()
    return Estimate(float(1 - (joint * cost).sum() / expected), len(table))


def fleiss(ratings: Ratings) -> Estimate:
    """κ of many raters (Fleiss 1971), over the items that the most usual number of people labelled."""
    return fleiss_of_counts(counts_of(ratings)[0])


def fleiss_of_counts(counts: Counts) -> Estimate:
    """The same from how often each unit got each category, of units with at least two labels."""
    if not len(counts):
        return Estimate(None, 0, NO_PAIR)
    sizes = counts.sum(1)
    usual = float(np.bincount(sizes.astype(int)).argmax())
    counts = counts[sizes == usual]
    shares = counts.sum(0) / counts.sum()
    if np.count_nonzero(shares) < 2:
        return Estimate(None, len(counts), UNANIMOUS)
    observed = (((counts**2).sum(1) - usual) / (usual * (usual - 1))).mean()
    expected = (shares**2).sum()
    return Estimate(float((observed - expected) / (1 - expected)), len(counts))


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """τ-b of two rankings of the same things (Kendall 1945); None if one of them ties everything."""
    a, b = (np.sign(np.subtract.outer(np.asarray(x, float), np.asarray(x, float))) for x in (first, second))
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm else None


def ranking_agreement(rankings: Sequence[Sequence[Sequence[float]]]) -> Estimate:
    """The mean τ-b over all pairs of rankings of one item, each item counting once.

    rankings: for each item the rankings that it got, each the ranks of its responses in one order.
    """
    taus = []
    for given in rankings:
        pairs = [kendall(a, b) for i, a in enumerate(given) for b in given[i + 1 :]]
        defined = [tau for tau in pairs if tau is not None]
        if defined:
            taus.append(np.mean(defined))
    if not taus:
        return Estimate(None, 0, "no item has two rankings that are not all ties")
    return Estimate(float(np.mean(taus)), len(taus))


def with_interval(
    statistic: Callable[[Ratings], Estimate], ratings: Ratings, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """The statistic with the percentile interval of a bootstrap over items (Efron 1979).

    Resamples for which it is not defined are left out; fewer than half left means no interval.
    """
    found = statistic(ratings)
    kept = ratings[(~np.isnan(ratings)).sum(1) >= 2]
    if found.value is None or len(kept) < 2:
        return found
    rng = np.random.default_rng(seed)
    values = [statistic(kept[rng.integers(0, len(kept), len(kept))]).value for _ in range(resamples)]
    defined = [value for value in values if value is not None]
    if len(defined) < resamples / 2:
        return found
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(found.value, found.n, None, float(low), float(high))


def alpha_with_interval(
    ratings: Ratings, level: Level = "nominal", *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """`with_interval` of α, its counts made once: quick enough for a million labels."""
    counts, categories = counts_of(ratings)
    return interval_of_alpha(counts, categories, level, resamples=resamples, seed=seed)


def interval_of_alpha(
    counts: Counts,
    categories: Float[np.ndarray, " C"],
    level: Level = "nominal",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The same from how often each unit got each category.

    Units with the same counts are one kind; a resample draws how often each kind occurs.
    """
    found = _alpha(counts, categories, level)
    if found.value is None or len(counts) < 2:
        return found
    kinds, number = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), number / number.sum(), resamples)
    totals = draws @ kinds
    sizes = kinds.sum(1)
    values = np.empty(resamples)
    if level == "ordinal":  # the distances depend on the totals
        for i, (draw, total) in enumerate(zip(draws, totals, strict=True)):
            distance = _distances(total, categories, level)
            observed = draw @ (np.einsum("uc,cd,ud->u", kinds, distance, kinds) / (sizes - 1))
            values[i] = _one_less(observed, total @ distance @ total / (total.sum() - 1))
    else:
        distance = _distances(totals[0], categories, level)
        observed = draws @ (np.einsum("uc,cd,ud->u", kinds, distance, kinds) / (sizes - 1))
        expected = np.einsum("rc,cd,rd->r", totals, distance, totals) / (totals.sum(1) - 1)
        values[:] = [_one_less(o, e) for o, e in zip(observed, expected, strict=True)]
    values = values[~np.isnan(values)]
    if len(values) < resamples / 2:
        return found
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(found.value, found.n, None, float(low), float(high))


def _one_less(observed: float, expected: float) -> float:
    return 1 - observed / expected if expected > 0 else np.nan


def counts_of(ratings: Ratings) -> tuple[Counts, Float[np.ndarray, " C"]]:
    """How often each unit with at least two labels got each category, and the categories in order."""
    ratings = np.asarray(ratings, float)
    there = ~np.isnan(ratings)
    kept = ratings[there.sum(1) >= 2] if ratings.size else ratings
    there = ~np.isnan(kept)
    categories, codes = np.unique(kept[there], return_inverse=True)
    counts = np.zeros((len(kept), len(categories)))
    np.add.at(counts, (np.nonzero(there)[0], codes), 1)
    return counts, categories


def counts_from(
    units: Int[np.ndarray, " N"], labels: Float[np.ndarray, " N"], times: Int[np.ndarray, " N"]
) -> tuple[Counts, Float[np.ndarray, " C"]]:
    """The same from (unit, label, how often), each pair once: what a database groups."""
    _, rows = np.unique(units, return_inverse=True)
    categories, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((rows.max(initial=-1) + 1, len(categories)))
    counts[rows, codes] = times
    kept = counts[counts.sum(1) >= 2]
    used = kept.sum(0) > 0
    return kept[:, used], categories[used]


def table_of(units: Int[np.ndarray, " N"], raters: Int[np.ndarray, " N"], labels: Float[np.ndarray, " N"]) -> Ratings:
    """A table from single labels: who (rater) gave which unit what.  The last of a rater's labels of a unit counts."""
    unit_names, rows = np.unique(units, return_inverse=True)
    rater_names, columns = np.unique(raters, return_inverse=True)
    table = np.full((len(unit_names), len(rater_names)), np.nan)
    table[rows, columns] = labels
    return table
