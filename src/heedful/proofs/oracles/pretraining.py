"""Oracles of pretraining with human feedback, each from its formula, token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import rows
from heedful.proofs.oracles.loops import Oracles, total


def _tokens(batch: Batch, name: str) -> list[Tensor]:
    return [value for response in rows(batch, name) for value in response]


def mle(batch: Batch, stats: dict[str, Any], settings: dict[str, Any]) -> Tensor:
    """Mean cross-entropy of all tokens."""
    logps = _tokens(batch, "logps")
    return -total(logps) / len(logps)


def unlikelihood(batch: Batch, stats: dict[str, Any], settings: dict[str, Any]) -> Tensor:
    """Eq. 3: likelihood of what is aligned, unlikelihood of what is not."""
    losses = []
    threshold = settings["threshold"]
    for logp, score in zip(_tokens(batch, "logps"), _tokens(batch, "token_scores"), strict=True):
        soft = 1 - min(max(float(score), 0.0), 1.0)
        aligned = soft if threshold is None else float(score <= threshold)
        losses.append(-aligned * logp - settings.get("alpha", 1.0) * (1 - aligned) * torch.log(1 - torch.exp(logp)))
    return total(losses) / len(losses)


def awr(batch: Batch, stats: dict[str, Any], settings: dict[str, Any]) -> Tensor:
    """Eq. 5, the weight a number and not a function of the model."""
    rewards = [-float(score) for score in _tokens(batch, "token_scores")]
    values = _tokens(batch, "foretold")
    advantages = [reward - value.item() for reward, value in zip(rewards, values, strict=True)]
    if settings.get("normalize_advantages"):
        mean = sum(advantages) / len(advantages)
        deviation = (sum((a - mean) ** 2 for a in advantages) / len(advantages)) ** 0.5
        advantages = [(a - mean) / deviation for a in advantages]
    alpha = settings.get("alpha", 0.5)
    lm = _weighted(batch, advantages, settings)
    value = total((reward - v) ** 2 for reward, v in zip(rewards, values, strict=True)) / len(values)
    return alpha * lm + (1 - alpha) * value


def rwr(batch: Batch, stats: dict[str, Any], settings: dict[str, Any]) -> Tensor:
    """Eq. 4."""
    baseline = settings.get("baseline", 0.0)
    return _weighted(batch, [-float(score) - baseline for score in _tokens(batch, "token_scores")], settings)


def _weighted(batch: Batch, advantages: list[float], settings: dict[str, Any]) -> Tensor:
    logps = _tokens(batch, "logps")
    losses = []
    for logp, advantage in zip(logps, advantages, strict=True):
        weight = torch.exp(torch.tensor(advantage / settings.get("beta", 1.0), dtype=torch.float64))
        losses.append(-min(float(weight), settings.get("clip", 1000.0)) * logp)
    return total(losses) / len(losses)


ORACLES: Oracles = {
    **{name: (mle, [{}]) for name in ("mle", "filtering", "conditional")},
    "unlikelihood": (unlikelihood, [{"threshold": None}, {"threshold": 0.5, "alpha": 0.7}, {"threshold": 0.0}]),
    "awr": (
        awr,
        [{}, {"alpha": 0.3, "beta": 0.2, "clip": 1.2}, {"normalize_advantages": True}, {"alpha": 1.0, "beta": 10.0}],
    ),
    "rwr": (rwr, [{}, {"beta": 0.1, "clip": 0.5}, {"baseline": -0.5, "beta": 10.0}]),
}
