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


def bco(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Jung et al. 2024: the shift is half of each side's mean reward over all steps: `earlier` and this one."""
    met: dict[bool, list[float]] = {True: [], False: []}
    for step in [*stats.get("earlier", []), batch]:
        for response in range(len(step.lengths)):
            met[desirable(step, response)].append(c["beta"] * log_ratio(step, response).item())
    shift = sum(sum(rewards) / len(rewards) for rewards in met.values()) / 2
    losses = []
    for response in range(len(batch.lengths)):
        r = c["beta"] * log_ratio(batch, response)
        if desirable(batch, response):
            losses.append(-log_sigmoid(r - shift))
        else:
            weight = 1.0
            if c["density_ratio"]:
                p = float(batch.responses["prompt_desirability"][response])
                weight = min(max(p / (1 - p), c["min_ratio"]), c["max_ratio"])
            losses.append(-weight * log_sigmoid(-(r - shift)))
    return total(losses) / len(losses)


def aot_unpaired(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Melnyk et al. 2024: each side repeated as often as the other has responses, then quantile against quantile."""
    sides: dict[bool, list[Tensor]] = {True: [], False: []}
    for response in range(len(batch.lengths)):
        sides[desirable(batch, response)].append(log_ratio(batch, response))
    good = sorted(sides[True] * len(sides[False]), key=Tensor.item)
    bad = sorted(sides[False] * len(sides[True]), key=Tensor.item)
    losses = []
    for high, low in zip(good, bad, strict=True):
        d, e = c["beta"] * (high - low), c["label_smoothing"]
        losses.append(-(1 - e) * log_sigmoid(d) - e * log_sigmoid(-d))
    return total(losses) / len(losses)


PLAIN = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}
WEIGHTED = {"beta": 0.7, "desirable_weight": 1.33, "undesirable_weight": 0.5}

ORACLES: Oracles = {
    "kto": (kto, [PLAIN, WEIGHTED]),
    "kto_logsigmoid": (kto_logsigmoid, [WEIGHTED]),
    "kto_zero": (kto_zero, [WEIGHTED]),
    "kto_simple": (kto_simple, [{"beta": 0.1}, {"beta": 1.0}]),
    "bco": (
        bco,
        [
            {"beta": 0.1, "density_ratio": False},
            {"beta": 1.0, "density_ratio": True, "min_ratio": 0.5, "max_ratio": 2.0},
        ],
    ),
    "aot_unpaired": (aot_unpaired, [{"beta": 0.1, "label_smoothing": 0.0}, {"beta": 1.0, "label_smoothing": 0.2}]),
}
