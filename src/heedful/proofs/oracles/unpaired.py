"""Oracles of objectives on single judged responses, each from its paper's formula."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.oracles.loops import Oracles, desirable, log_ratio, log_sigmoid, sigmoid, total


def kto(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Ethayarajh et al. 2024, eq. 8: λ_y - v(x, y)."""
    z, losses = max(float(stats["z"]), 0.0), []
    for response in range(len(batch.lengths)):
        reward = log_ratio(batch, response)
        if desirable(batch, response):
            weight, value = c["desirable_weight"], sigmoid(c["beta"] * (reward - z))
        else:
            weight, value = c["undesirable_weight"], sigmoid(c["beta"] * (z - reward))
        losses.append(weight - weight * value)
    return total(losses) / len(batch.lengths)


def kto_logsigmoid(batch: Batch, stats: dict, c: dict) -> Tensor:
    """The same utility under a logarithm."""
    z, losses = max(float(stats["z"]), 0.0), []
    for response in range(len(batch.lengths)):
        r = log_ratio(batch, response)
        if desirable(batch, response):
            losses.append(-c["desirable_weight"] * log_sigmoid(c["beta"] * (r - z)))
        else:
            losses.append(-c["undesirable_weight"] * log_sigmoid(c["beta"] * (z - r)))
    return total(losses) / len(batch.lengths)


def kto_zero(batch: Batch, stats: dict, c: dict) -> Tensor:
    """KTO whose reference point is 0."""
    return kto(batch, {"z": 0.0}, c)


def kto_simple(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Each side against the other side's mean, which carries gradient."""
    ratios: dict[bool, list[Tensor]] = {True: [], False: []}
    for response in range(len(batch.lengths)):
        ratios[desirable(batch, response)].append(log_ratio(batch, response))
    points = {}
    for side, values in ratios.items():
        mean = total(values) / len(values)
        points[side] = mean if mean > 0 else torch.zeros_like(mean)
    good = [1 - sigmoid(c["beta"] * (r - points[False])) for r in ratios[True]]
    bad = [1 - sigmoid(c["beta"] * (points[True] - r)) for r in ratios[False]]
    return total(good + bad) / len(batch.lengths)


PLAIN = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}
WEIGHTED = {"beta": 0.7, "desirable_weight": 1.33, "undesirable_weight": 0.5}

ORACLES: Oracles = {
    "kto": (kto, [PLAIN, WEIGHTED]),
    "kto_logsigmoid": (kto_logsigmoid, [WEIGHTED]),
    "kto_zero": (kto_zero, [WEIGHTED]),
    "kto_simple": (kto_simple, [{"beta": 0.1}, {"beta": 1.0}]),
}
