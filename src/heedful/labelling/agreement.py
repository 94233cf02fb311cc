"""How far labellers agree: Krippendorff's α, Cohen's κ, Fleiss' κ, raw agreement, Kendall's τ-b, with intervals.

A statistic that is not defined says why; it is never NaN, and never 1 because everybody said the same.

Axes: `K` kinds of units (items, or responses), `C` categories, `R` samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

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
    sizes = units.sizes
    equal = ((units.counts**2).sum(1) - sizes) / (sizes - 1)
    return Estimate(float(units.number @ equal / (units.number @ sizes)), units.n)


def krippendorff(units: Kinds, level: Level = "nominal") -> Estimate:
    """α = 1 - Dₒ / Dₑ (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability), with missing labels.

    level: how far apart two categories are: not at all the same (nominal), by how many labels lie between them
    (ordinal), or by the square of their difference (interval).
    """
    if not units.n:
        return Estimate(None, 0, NO_PAIR)
    if len(units.categories) < 2:
        return Estimate(None, units.n, UNANIMOUS)
    return Estimate(float(_alphas(units, units.number[None], level)[0]), units.n)


def _alphas(units: Kinds, numbers: Int[np.ndarray, "R K"], level: Level) -> Float[np.ndarray, " R"]:
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


def fleiss(units: Kinds) -> Estimate:
    """κ of many raters (Fleiss 1971), over the items that the most usual number of people labelled."""
    if not units.n:
        return Estimate(None, 0, NO_PAIR)
    usual = int(np.bincount(units.sizes.astype(int), units.number).argmax())
    counts, number = units.counts[units.sizes == usual], units.number[units.sizes == usual]
    shares = number @ counts / (number.sum() * usual)
    if np.count_nonzero(shares) < 2:
        return Estimate(None, int(number.sum()), UNANIMOUS)
    observed = number @ (((counts**2).sum(1) - usual) / (usual * (usual - 1))) / number.sum()
    expected = (shares**2).sum()
    return Estimate(float((observed - expected) / (1 - expected)), int(number.sum()))


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


def alpha_with_interval(
    units: Kinds, level: Level = "nominal", *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """α with the percentile interval of a bootstrap over items (Efron 1979): quick enough for a million labels.

    A resample draws how often each kind of unit occurs.  Those for which α is not defined are left out; fewer than half
    left means no interval.
    """
    found = krippendorff(units, level)
    if found.value is None or units.n < 2:
        return found
    rng = np.random.default_rng(seed)
    block = max(1, LARGEST // len(units.number))
    values = np.concatenate(
        [
            _alphas(units, rng.multinomial(units.n, units.number / units.n, min(block, resamples - start)), level)
            for start in range(0, resamples, block)
        ]
    )
    values = values[~np.isnan(values)]
    if len(values) < resamples / 2:
        return found
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(found.value, found.n, None, float(low), float(high))
