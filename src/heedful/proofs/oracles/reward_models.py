"""Oracles of objectives that train a scalar head, each from its paper's formula."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.oracles.loops import Oracles, pairs_of, sigmoid, total


def reward(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Ouyang et al. 2022, eq. 1, with the margin of Touvron et al. 2023 and the centring of Eisenstein et al. 2023."""
    losses = []
    for chosen, rejected in pairs_of(batch):
        good, bad = batch.responses["scores"][chosen], batch.responses["scores"][rejected]
        margin = batch.responses["margin"][chosen] if c["margin"] else 0.0
        losses.append(-torch.log(sigmoid(good - bad - margin)) + c["centring"] * (good + bad) ** 2)
    return total(losses) / len(losses)


ORACLES: Oracles = {"reward": (reward, [{"margin": False, "centring": 0.0}, {"margin": True, "centring": 0.05}])}
