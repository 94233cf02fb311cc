"""How far labellers agree: Krippendorff's α, Cohen's κ, Fleiss' κ, raw agreement, Kendall's τ-b, with intervals.

A statistic that is not defined says why; it is never NaN, and never 1 because everybody said the same.

Axes: `K` kinds of units (items, or responses), `C` categories, `R` samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]

RESAMPLES = 1000
CONFIDENCE = 0.95
LARGEST = 1 << 21
"""Numbers in a block of resamples."""

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


Statistic = Callable[[Float[np.ndarray, "R K"]], Float[np.ndarray, " R"]]
"""Of samples, how often each kind of unit occurs in them; NaN where it is not defined."""


@dataclass(frozen=True)
class Kinds:
    """Units with at least two labels, those that were labelled alike taken together.

    counts: how often a unit of each kind got each category.  number: of units of each kind.  categories: in order.
    """

    counts: Float[np.ndarray, "K C"]
    number: Int[np.ndarray, " K"]
    categories: Float[np.ndarray, " C"]

    @property
    def sizes(self) -> Float[np.ndarray, " K"]:
        """How many labels a unit of each kind got."""
        return self.counts.sum(1)

    @property
    def n(self) -> int:
        """How many units there are."""
        return int(self.number.sum())


def raw_agreement(units: Kinds) -> Estimate:
    """The share of pairs of labels of one item that are equal, every item counting as its number of labels.

    Weighted as in Krippendorff's observed agreement: an item of m labels has m / (m (m - 1)) of each ordered pair.
    """
    if not units.n:
        return Estimate(None, 0, NO_PAIR)
    return Estimate(float(_raw(units, units.number[None].astype(float))[0]), units.n)


def _raw(units: Kinds, numbers: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
    sizes = units.sizes
    equal = ((units.counts**2).sum(1) - sizes) / (sizes - 1)
    return numbers @ equal / (numbers @ sizes)


def krippendorff(units: Kinds, level: Level = "nominal") -> Estimate:
    """α = 1 - Dₒ / Dₑ (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability), with missing labels.

    level: how far apart two categories are: not at all the same (nominal), by how many labels lie between them
    (ordinal), or by the square of their difference (interval).
    """
    if not units.n:
        return Estimate(None, 0, NO_PAIR)
    if len(units.categories) < 2:
        return Estimate(None, units.n, UNANIMOUS)
    return Estimate(float(_alphas(units, units.number[None].astype(float), level)[0]), units.n)


def _alphas(units: Kinds, numbers: Float[np.ndarray, "R K"], level: Level) -> Float[np.ndarray, " R"]:
    """α of samples in which each kind of unit occurs that often; NaN where all labels of a sample are identical.

    Of n labels with places p the squared differences sum to 2 (n Σ p² - (Σ p)²), which needs no table of pairs.
    """
    counts, sizes = units.counts, units.sizes
    totals = numbers @ counts
    whole = totals.sum(1)
    if level == "nominal":
        apart = sizes**2 - (counts**2).sum(1)
        expected = whole**2 - (totals**2).sum(1)
    else:
        # Ordinal: the ranks that the labels of all units have, ties in the middle.
        places = units.categories[None] if level == "interval" else np.cumsum(totals, 1) - totals / 2
        places = places - places.mean(1, keepdims=True)
        apart = 2 * (sizes * (places**2 @ counts.T) - (places @ counts.T) ** 2)
        expected = 2 * (whole * (totals * places**2).sum(1) - (totals * places).sum(1) ** 2)
    observed = (numbers * (apart / (sizes - 1))).sum(1)
    varied = np.count_nonzero(totals, axis=1) > 1
    return np.where(varied, 1 - observed * (whole - 1) / np.where(varied, expected, 1.0), np.nan)


def cohen(first: Sequence[float], second: Sequence[float], weights: Weights = "none") -> Estimate:
    """κ of two raters on the same units (Cohen 1960; weighted: 1968), categories equally spaced in their order.

    Where one of the two is NaN the unit is left out.  The interval is that of a bootstrap over units.
    """
    table = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    table = table[~np.isnan(table).any(1)]
    if not len(table):
        return Estimate(None, 0, "no item was labelled by both")
    categories, codes = np.unique(table, return_inverse=True)
    if len(categories) < 2:
        return Estimate(None, len(table), UNANIMOUS)
    size = len(categories)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    cost = {"none": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    pairs, number = np.unique(codes.reshape(table.shape), axis=0, return_counts=True)

    def kappas(numbers: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
        rows, columns = (numbers @ np.eye(size)[pairs[:, rater]] for rater in (0, 1))
        expected = np.einsum("ra,ab,rb->r", rows, cost, columns)
        observed = (numbers @ cost[pairs[:, 0], pairs[:, 1]]) * numbers.sum(1)
        return np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1.0), np.nan)

    found = Estimate(float(kappas(number[None].astype(float))[0]), len(table))
    return _with_intervals({"kappa": found}, {"kappa": kappas}, number)["kappa"]


def fleiss(units: Kinds) -> Estimate:
    """κ of many raters (Fleiss 1971), over the items that the most usual number of people labelled."""
    if not units.n:
        return Estimate(None, 0, NO_PAIR)
    usual = _usual(units)
    if np.count_nonzero(usual.number @ usual.counts) < 2:
        return Estimate(None, usual.n, UNANIMOUS)
    return Estimate(float(_fleiss(usual, usual.number[None].astype(float))[0]), usual.n)


def _are_usual(units: Kinds) -> Bool[np.ndarray, " K"]:
    """Which kinds the most usual number of people labelled."""
    return units.sizes == int(np.bincount(units.sizes.astype(int), units.number).argmax())


def _usual(units: Kinds) -> Kinds:
    here = _are_usual(units)
    return Kinds(units.counts[here], units.number[here], units.categories)


def _fleiss(units: Kinds, numbers: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
    """κ of samples of units that all have as many labels; NaN where all labels of a sample are identical."""
    size, n = units.sizes[0], np.maximum(numbers.sum(1), 1)
    shares = numbers @ units.counts / (n[:, None] * size)
    observed = numbers @ (((units.counts**2).sum(1) - size) / (size * (size - 1))) / n
    expected = (shares**2).sum(1)
    varied = np.count_nonzero(shares, axis=1) > 1
    return np.where(varied, (observed - expected) / np.where(varied, 1 - expected, 1.0), np.nan)


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """τ-b of two rankings of the same things (Kendall 1945); None if one of them ties everything."""
    a, b = (np.sign(np.subtract.outer(np.asarray(x, float), np.asarray(x, float))) for x in (first, second))
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm else None


def ranking_agreement(rankings: Sequence[Sequence[Sequence[float]]]) -> Estimate:
    """The mean τ-b over all pairs of rankings of one item, each item counting once; its interval is over items.

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
    there, number = np.unique(taus, return_counts=True)
    found = Estimate(float(np.mean(taus)), len(taus))
    return _with_intervals({"tau": found}, {"tau": lambda numbers: numbers @ there / len(taus)}, number)["tau"]


def statistics(
    units: Kinds, level: Level = "nominal", *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Raw agreement, Krippendorff's α and Fleiss' κ with intervals over items: quick enough for a million labels."""
    found = {
        "raw": raw_agreement(units),
        "krippendorff_alpha": krippendorff(units, level),
        "fleiss_kappa": fleiss(units),
    }
    usual, here = (_usual(units), _are_usual(units)) if units.n else (units, np.zeros(0, bool))
    of_samples: dict[str, Statistic] = {
        "raw": lambda numbers: _raw(units, numbers),
        "krippendorff_alpha": lambda numbers: _alphas(units, numbers, level),
        "fleiss_kappa": lambda numbers: _fleiss(usual, numbers[:, here]),
    }
    return _with_intervals(found, of_samples, units.number, resamples, seed)


def _with_intervals(
    found: dict[str, Estimate],
    of_samples: dict[str, Statistic],
    number: Int[np.ndarray, " K"],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """With percentile intervals of a bootstrap (Efron 1979) that draws how often each kind of unit occurs.

    number: of units of each kind.  Samples for which a statistic is not defined are left out; fewer than half left
    means no interval.
    """
    n = int(number.sum())
    names = [name for name, estimate in found.items() if estimate.value is not None]
    if n < 2 or not names:
        return found
    rng = np.random.default_rng(seed)
    block = max(1, LARGEST // len(number))
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, resamples, block):
        numbers = rng.multinomial(n, number / n, min(block, resamples - start)).astype(float)  # for fast products
        for name in names:
            values[name].append(of_samples[name](numbers))
    return {name: _between(one, values[name], resamples) if name in values else one for name, one in found.items()}


def _between(found: Estimate, values: Sequence[np.ndarray], resamples: int) -> Estimate:
    defined = np.concatenate(values)
    defined = defined[~np.isnan(defined)]
    if len(defined) < resamples / 2:
        return found
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return replace(found, low=float(low), high=float(high))
