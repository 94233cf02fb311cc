"""Oracles: each objective again, from its paper's formula, as plain loops over examples and tokens in float64.

Written independently of `heedful.objectives`: nothing here sums segments, selects rows or shares a helper with it.
An oracle gives one loss for the batch, as the paper averages it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from heedful.objectives.views import Batch
from tests.objectives.batches import groups, rows


def log_ratio(batch: Batch, response: int) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for logp, ref in zip(rows(batch, "logps")[response], rows(batch, "ref_logps")[response], strict=True):
        total = total + logp - ref
    return total


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1.0 / (1.0 + torch.exp(-x))


def pairs_of(batch: Batch) -> list[tuple[int, int]]:
    found = []
    for members in groups(batch):
        chosen = [r for r in members if batch.responses["chosen"][r] == 1]
        rejected = [r for r in members if batch.responses["chosen"][r] == 0]
        found.append((chosen[0], rejected[0]))
    return found


def sft(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Mean cross-entropy of the trained tokens."""
    tokens = [logp for response in rows(batch, "logps") for logp in response]
    return -sum(tokens) / len(tokens)


def dpo(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Rafailov et al. 2023, eq. 7."""
    total = 0.0
    for chosen, rejected in pairs_of(batch):
        inside = settings["beta"] * log_ratio(batch, chosen) - settings["beta"] * log_ratio(batch, rejected)
        total = total - torch.log(sigmoid(inside))
    return total / len(pairs_of(batch))


def kto(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Ethayarajh et al. 2024, eq. 8: λ_y - v(x, y)."""
    z = max(float(stats["z"]), 0.0)
    total = 0.0
    for response in range(len(batch.lengths)):
        reward = log_ratio(batch, response)
        if batch.responses["desirable"][response] == 1:
            weight, value = settings["desirable_weight"], sigmoid(settings["beta"] * (reward - z))
        else:
            weight, value = settings["undesirable_weight"], sigmoid(settings["beta"] * (z - reward))
        total = total + weight - weight * value
    return total / len(batch.lengths)


def reward(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Ouyang et al. 2022, eq. 1, with the margin of Touvron et al. 2023 and the centring of Eisenstein et al. 2023."""
    total = 0.0
    for chosen, rejected in pairs_of(batch):
        good, bad = batch.responses["scores"][chosen], batch.responses["scores"][rejected]
        margin = batch.responses["margin"][chosen] if settings["margin"] else 0.0
        total = total - torch.log(sigmoid(good - bad - margin)) + settings["centring"] * (good + bad) ** 2
    return total / len(pairs_of(batch))


ORACLES: dict[str, tuple[Callable[[Batch, dict, dict], torch.Tensor], list[dict[str, Any]]]] = {
    "sft": (sft, [{}]),
    "dpo": (dpo, [{"beta": 0.1}, {"beta": 2.0}]),
    "kto": (
        kto,
        [
            {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
            {"beta": 0.7, "desirable_weight": 1.33, "undesirable_weight": 0.5},
        ],
    ),
    "reward": (reward, [{"margin": False, "centring": 0.0}, {"margin": True, "centring": 0.05}]),
}
