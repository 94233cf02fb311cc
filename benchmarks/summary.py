"""The arithmetic of the benchmark: medians, and ratios of medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each contender's samples."""
    return {name: median(values) for name, values in samples.items()}


def ratio(samples: Mapping[str, Sequence[float]], over: str, under: str) -> float:
    """Median of `over` divided by the median of `under`."""
    return median(samples[over]) / median(samples[under])


def spread(values: Sequence[float]) -> float:
    """Largest over smallest: 1.0 on a quiet machine; well above 1.2 the medians are not to be trusted."""
    return max(values) / min(values)


def per_unit(times: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """Median time of one unit of work at each size, relative to the smallest size: all 1.0 where time is linear."""
    each = {size: median(values) / size for size, values in times.items()}
    smallest = each[min(each)]
    return {size: value / smallest for size, value in sorted(each.items())}


def summarise(samples: Mapping[str, Sequence[float]], *, digits: int = 4) -> dict[str, Any]:
    """What is kept of a contest: every sample, medians and spreads."""
    return {
        "seconds": {name: [round(v, digits) for v in values] for name, values in samples.items()},
        "median_s": {name: round(value, digits) for name, value in medians(samples).items()},
        "spread": {name: round(spread(values), 3) for name, values in samples.items()},
    }
