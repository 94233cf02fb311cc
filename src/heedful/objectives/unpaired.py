"""Objectives on single responses with a thumb up or down.  Axes: `B` responses."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.objectives.reduce import statistics
from heedful.objectives.settings import NonNegative, Positive
from heedful.objectives.views import Singles


def mismatched_log_ratio(mismatched: Singles) -> Float[Tensor, " B"]:
    """log π(y'|x)/π_ref(y'|x) of answers y' to other prompts: its mean estimates KL(π‖π_ref), nats."""
    return mismatched.log_ratio


@statistics(z=mismatched_log_ratio)
def kto(
    singles: Singles,
    z: Float[Tensor, ""],
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> tuple[Float[Tensor, " B"], dict[str, Tensor]]:
    """Kahneman-Tversky optimisation: λ_y - v(x, y).  Ethayarajh et al. 2024, eq. 8, arXiv:2402.01306.

    r = log π(y|x)/π_ref(y|x);  desirable: λ_D·(1 - σ(β(r - z)));  undesirable: λ_U·(1 - σ(β(z - r))).
    z = max(0, mean over the step of r(x, y')) on mismatched answers y', without gradient.  The published code takes z
    from one micro-batch of one rank (and, earlier, divides it by the number of ranks); here it is the whole step's.

    beta: how fast value saturates away from the reference point; larger saturates sooner and stays closer to the
        reference.  Typically 0.01-0.5.
    desirable_weight, undesirable_weight: λ_D, λ_U; raise the one whose examples are rarer, so that
        λ_D·n_D / (λ_U·n_U) lies in 1-4/3.
    """
    ratio, desirable = singles.log_ratio, singles.desirable
    point = z.clamp(min=0)
    sign = torch.where(desirable, 1.0, -1.0).to(ratio.dtype)
    weight = torch.where(desirable, ratio.new_tensor(desirable_weight), ratio.new_tensor(undesirable_weight))
    loss = weight * torch.sigmoid(-sign * beta * (ratio - point))
    rewards = beta * ratio.detach()
    return loss, {
        "rewards/chosen": rewards[desirable],
        "rewards/rejected": rewards[~desirable],
        "logps/chosen": singles.seq_logps[desirable],
        "logps/rejected": singles.seq_logps[~desirable],
        "kl": point.reshape(1),
    }
