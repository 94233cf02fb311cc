"""Oracles of policy gradients on given responses: recursions from the last token back, one response at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import groups, rows
from heedful.proofs.oracles.loops import Oracles, desirable, total


def held(logp: Tensor, ref: Tensor, advantage: float, clip: float | None) -> Tensor:
    """Schulman et al. 2017, eq. 7, as a loss."""
    ratio = torch.exp(logp) / torch.exp(ref)
    if clip is None:
        return -ratio * advantage
    edge = ratio.new_tensor(1 + clip if ratio > 1 else 1 - clip)
    near = ratio if 1 - clip <= ratio <= 1 + clip else edge
    return -min(ratio * advantage, near * advantage, key=Tensor.item)


def k3(logp: Tensor, ref: Tensor) -> Tensor:
    """Schulman 2020: r - 1 - log r of r = π_ref/π."""
    r = torch.exp(ref) / torch.exp(logp)
    return r - 1 - torch.log(r)


def mean(losses: list[Tensor]) -> Tensor:
    return total(losses) / len(losses)


def back_from_the_end(score: float, values: list[float], gamma: float, lam: float) -> tuple[list[float], list[float]]:
    """Advantages and returns of one response whose reward stands at its last token."""
    advantages: list[float] = []
    returns: list[float] = []
    next_value = advantage = to_go = 0.0
    for step, value in enumerate(reversed(values)):
        reward = score if step == 0 else 0.0
        advantage = (reward + gamma * next_value - value) + gamma * lam * advantage
        to_go = reward + gamma * to_go
        next_value = value
        advantages.insert(0, advantage)
        returns.insert(0, to_go)
    return advantages, returns


def ppo_offline(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Schulman et al. 2016, eq. 16; 2017, eq. 7; the critic's squared error; a penalty per token."""
    tokens: list[tuple[Tensor, ...]] = []
    advantages: list[float] = []
    returns: list[float] = []
    for i in range(len(batch.lengths)):
        label = 1.0 if desirable(batch, i) else -1.0
        score = label if c["reward"] == "labels" else float(batch.responses["reward"][i])
        values = [value.item() for value in rows(batch, "values")[i]]
        for found, here in zip(
            (advantages, returns), back_from_the_end(score, values, c["gamma"], c["gae_lambda"]), strict=True
        ):
            found += here
        tokens += zip(*(rows(batch, name)[i] for name in ("logps", "ref_logps", "values", "kl")), strict=True)
    centre = sum(advantages) / len(advantages)
    variance = sum((a - centre) ** 2 for a in advantages) / len(advantages)
    white = [(a - centre) / math.sqrt(variance + 1e-8) for a in advantages]
    policy = mean([held(logp, ref, a, c["clip"]) for (logp, ref, _, _), a in zip(tokens, white, strict=True)])
    critic = mean([(value - g) ** 2 / 2 for (_, _, value, _), g in zip(tokens, returns, strict=True)])
    form = {"published": lambda p, q, full: p - q, "k3": lambda p, q, full: k3(p, q), "full": lambda p, q, full: full}
    penalty = mean([form[c["kl"]](logp, ref, full) for logp, ref, _, full in tokens])
    return policy + c["critic_weight"] * critic + c["kl_beta"] * penalty


def grpo_offline(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Shao et al. 2024, eq. 3-4, with one mean over all tokens."""
    losses = []
    for members in groups(batch):
        scores = [float(batch.responses["reward"][i]) for i in members]
        centre = sum(scores) / len(scores)
        deviation = math.sqrt(sum((s - centre) ** 2 for s in scores) / len(scores))
        for i, score in zip(members, scores, strict=True):
            for logp, ref in zip(rows(batch, "logps")[i], rows(batch, "ref_logps")[i], strict=True):
                stands_out = (score - centre) / (deviation + 0.01)
                losses.append(held(logp, ref, stands_out, c["clip"]) + c["kl_beta"] * k3(logp, ref))
    return mean(losses)


PPO = {"reward": "labels", "gamma": 0.99, "gae_lambda": 0.95, "clip": 0.5, "critic_weight": 0.01}

ORACLES: Oracles = {
    "ppo_offline": (
        ppo_offline,
        [
            {**PPO, "kl": "published", "kl_beta": 0.1},
            {**PPO, "reward": "column", "gamma": 1.0, "gae_lambda": 1.0, "clip": None, "kl": "k3", "kl_beta": 0.5},
            {**PPO, "gamma": 0.9, "gae_lambda": 0.0, "critic_weight": 1.0, "clip": 0.2, "kl": "full", "kl_beta": 1.0},
            {**PPO, "kl": "published", "kl_beta": 0.0},
        ],
    ),
    "grpo_offline": (
        grpo_offline,
        [{"clip": 0.01, "kl_beta": 0.01}, {"clip": 0.5, "kl_beta": 0.0}, {"clip": None, "kl_beta": 0.3}],
    ),
}
