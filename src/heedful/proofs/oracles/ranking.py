"""Oracles of objectives on rankings, each from its paper's formula."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import groups
from heedful.proofs.oracles.loops import Oracles, log_ratio, mean_logp, total, total_logp


def ranking(batch: Batch, members: list[int]) -> list[tuple[int, list[int]]]:
    """(response, those ranked below it) for the responses of a prompt."""
    rank = batch.responses["rank"]
    return [(i, [j for j in members if rank[j] > rank[i]]) for i in members]


def plackett_luce(batch: Batch, stats: dict, c: dict) -> Tensor:
    """The probability that each response is drawn first among those not above it."""
    losses = []
    for members in groups(batch):
        for i, below in ranking(batch, members):
            strength = {k: torch.exp(c["beta"] * log_ratio(batch, k)) for k in [i, *below]}
            losses.append(-torch.log(strength[i] / total(strength.values())))
    return total(losses) / len(groups(batch))


def pro(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Song et al. 2023, with the temperatures of eq. 7."""
    losses, score = [], batch.responses["reward"]
    for members in groups(batch):
        for i, below in ranking(batch, members):
            if below:
                gaps = {j: score[i] - score[j] for j in below}
                top = torch.exp(mean_logp(batch, i) * max(gaps.values()))
                rest = total(torch.exp(mean_logp(batch, j) * gap) for j, gap in gaps.items())
                losses.append(-torch.log(top / (top + rest)))
        best = [k for k in members if batch.responses["rank"][k] == 1]
        imitation = -total(total_logp(batch, k) for k in best) / len(best)
        losses.append(c["sft_weight"] * (len(members) - 1) ** 2 * imitation)
    return total(losses) / len(groups(batch))


ORACLES: Oracles = {
    "plackett_luce": (plackett_luce, [{"beta": 0.1}, {"beta": 1.0}]),
    "pro": (pro, [{"sft_weight": 0.05}, {"sft_weight": 0.0}]),
}
