"""Objectives on rankings: K ≥ 2 responses to one prompt.  Axes: `B` responses, `G` prompts.

A rank of 1 is best; equal ranks are ties, and neither of two tied responses is asked to beat the other.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heedful.maths import segment_sum
from heedful.objectives.reduce import Term
from heedful.objectives.settings import NonNegative, Positive
from heedful.objectives.views import Lists


def beats(lists: Lists) -> Bool[Tensor, "B B"]:
    """Whether response i stands above response j in the ranking of their prompt."""
    rank, group = lists.batch.response("rank"), lists.group_of
    return (group[:, None] == group[None, :]) & (rank[:, None] < rank[None, :])


def plackett_luce(lists: Lists, *, beta: Positive = 0.1) -> tuple[Float[Tensor, " G"], dict[str, Tensor]]:
    """List-wise DPO: Σ_i log(e^{βr_i} + Σ_{j below i} e^{βr_j}) - βr_i.

    The likelihood of the whole ranking under Plackett-Luce with implicit rewards βr.  Rafailov et al. 2023, eq. 20,
    arXiv:2305.18290 (K = 2 is dpo).

    beta: how strongly the policy is held to the reference; larger stays closer.
    """
    rewards, below = beta * lists.singles.log_ratio, beats(lists)
    contenders = below | torch.eye(len(rewards), dtype=torch.bool, device=rewards.device)
    pool = torch.where(contenders, rewards[None, :], float("-inf")).logsumexp(1)
    wins = (rewards[:, None] > rewards[None, :])[below].to(rewards.dtype)
    return segment_sum(pool - rewards, lists.group_sizes), {"rewards/accuracies": wins}


def pro(lists: Lists, *, sft_weight: NonNegative = 0.05) -> tuple[dict[str, Term], dict[str, Tensor]]:
    """Preference ranking optimisation: Σ_i log(e^{s_i T_ii} + Σ_{j below i} e^{s_j T_ij}) - s_i T_ii + w·(K-1)²·S_best.

    Each response against all below it, sharpened by how far apart rewards are.  s: mean log-probability per token.
    T_ij = R_i - R_j for j below i, T_ii = max_j T_ij.  S_best: -log π of the best.  Song et al. 2023, eq. 6-8,
    arXiv:2306.17492.  The published adaptation for two candidates leaves out the first response token and scores a
    padding token in its place.  No reference; a pair whose rewards contradict its rank raises the worse response, as
    published.

    sft_weight: w; larger imitates the best response more.
    """
    singles, below = lists.singles, beats(lists)
    s, gap = singles.mean_logps, singles.reward[:, None] - singles.reward[None, :]
    largest = torch.where(below, gap, float("-inf")).amax(1)
    has_below = below.any(1)
    own = s * torch.where(has_below, largest, 0.0)
    others = torch.where(below, s[None, :] * gap, float("-inf"))
    losses = torch.cat([own[:, None], others], 1).logsumexp(1) - own
    sizes = lists.group_sizes
    best = (lists.batch.response("rank") == 1).to(s.dtype)
    imitation = segment_sum(-singles.seq_logps * best, sizes) / segment_sum(best, sizes).clamp(min=1)
    terms = {"loss": Term(segment_sum(losses, sizes))}
    if sft_weight > 0:
        terms["sft"] = Term(sft_weight * (sizes - 1).to(s.dtype) ** 2 * imitation)
    wins = (s[:, None] > s[None, :])[below].to(s.dtype)
    return terms, {"rewards/accuracies": wins}
