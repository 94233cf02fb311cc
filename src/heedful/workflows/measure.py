"""Numbers about samples: expected worst of k, distinct n-grams, and differences with a clustered bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def expected_worst_of(scores: Sequence[float], k: int, *, lower_is_better: bool) -> float:
    """The expected worst of k scores drawn without replacement from all n: Σ_i x_(i) C(i-1, k-1) / C(n, k).

    x_(i) is the i-th score from the best to the worst.  Exact, over all subsets; NaN if there are fewer than k scores.
    (Korbak et al. 2023, arXiv:2302.08582, average the worst of disjoint groups of 25.)
    """
    n = len(scores)
    if n < k:
        return math.nan
    best_first = sorted(scores, reverse=not lower_is_better)
    # C(i-1, k-1)/C(n, k) from its last value k/n downwards: the binomials themselves overflow.
    weight, total = k / n, 0.0
    for i in range(n, k - 1, -1):
        total += weight * best_first[i - 1]
        weight *= (i - k) / (i - 1) if i > 1 else 0.0
    return total


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words, divided by all n-grams, pooled over the texts.  0 if there is none."""
    grams = [tuple(words[i : i + n]) for t in texts for words in [t.split()] for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


@dataclass(frozen=True)
class Difference:
    """A statistic of one group minus that of another, with a bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


def ratio_difference(
    new: tuple[np.ndarray, np.ndarray],
    old: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    num_resamples: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Difference of two ratios Σ numerator / Σ denominator, with a percentile interval of a bootstrap over clusters.

    new, old: (numerator, denominator), each (num_prompts, samples), row i of both being samples of the same prompt.
    A mean over samples has denominators of one; a mean over the samples that parse has denominators 0 and 1.
    Prompts are resampled, with all their samples in both groups: samples of one prompt are not independent, and both
    groups answer the same prompts (Efron & Tibshirani 1993, ch. 8).
    """
    sums = [a.sum(1).astype(np.float64) for a in (*new, *old)]
    picks = np.random.default_rng(seed).integers(0, len(sums[0]), (num_resamples, len(sums[0])))
    resampled = [s[picks].sum(1) for s in sums]
    values = _ratio(resampled[0], resampled[1]) - _ratio(resampled[2], resampled[3])
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    point = _ratio(sums[0].sum(), sums[1].sum()) - _ratio(sums[2].sum(), sums[3].sum())
    return Difference(float(point), float(low), float(high))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(numerator, denominator)
