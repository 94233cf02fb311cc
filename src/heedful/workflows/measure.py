"""Numbers about samples: expected worst of k, win rates, and means with a clustered bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from heedful.evaluation.text_metrics import expected_max


def expected_worst_of(scores: Sequence[float], k: int, *, lower_is_better: bool) -> float:
    """The expected worst of k scores drawn without replacement from all; NaN if there are fewer (`expected_max`)."""
    sign = 1 if lower_is_better else -1
    worst = expected_max([sign * score for score in scores], k)
    return math.nan if worst is None else sign * worst


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


Ratio = tuple[np.ndarray, np.ndarray]
"""(numerator, denominator), each (num_prompts, samples): Σ numerator / Σ denominator is the statistic.

A mean over samples has denominators of one; a mean over the samples that parse has denominators 0 and 1.
"""


def ratio_interval(ratio: Ratio, *, seed: int, num_resamples: int = 2000, level: float = 0.95) -> Interval:
    """A ratio with a percentile interval of a bootstrap over clusters: prompts are resampled with all their samples,
    for samples of one prompt are not independent (Efron & Tibshirani 1993, ch. 8)."""
    return _bootstrap(ratio, _ratio, seed, num_resamples, level)


def ratio_difference(new: Ratio, old: Ratio, *, seed: int, num_resamples: int = 2000, level: float = 0.95) -> Interval:
    """Difference of two ratios, new - old, with such an interval.

    Row i of both groups are samples of the same prompt, which is resampled with its samples in both: the groups answer
    the same prompts.
    """

    def difference(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        return _ratio(a, b) - _ratio(c, d)

    return _bootstrap((*new, *old), difference, seed, num_resamples, level)


def win_rate(scores: np.ndarray, others: np.ndarray, *, seed: int) -> Interval:
    """Share of a prompt's comparisons that `scores` win, averaged over prompts; ties count half.

    scores (P, K), others (P, L): row i of both are answers to the same prompt, each of the K compared with each of the
    L.  -inf for an answer that failed, which loses to every other and ties with its like.
    """
    left, right = scores[:, :, None], others[:, None, :]
    won = ((left > right) + 0.5 * (left == right)).reshape(len(scores), -1)
    return ratio_interval((won, np.ones_like(won)), seed=seed)


def _bootstrap(
    groups: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], seed: int, num_resamples: int, level: float
) -> Interval:
    sums = [group.sum(1).astype(np.float64) for group in groups]
    picks = np.random.default_rng(seed).integers(0, len(sums[0]), (num_resamples, len(sums[0])))
    values = statistic(*(s[picks].sum(1) for s in sums))
    with np.errstate(invalid="ignore"):  # between two infinite values
        low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(*(s.sum() for s in sums))), float(low), float(high))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(numerator, denominator)
