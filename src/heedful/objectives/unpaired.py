"""Objectives on single responses with a thumb up or down.  Axes: `B` responses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.objectives.reduce import statistics, whole_step
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
    point = z.clamp(min=0)
    weight = _weights(singles, desirable_weight, undesirable_weight)
    values = weight * torch.sigmoid(-beta * _signs(singles) * (singles.log_ratio - point))
    return values, {**_watched(singles, beta), "kl": point.reshape(1)}


@statistics(z=mismatched_log_ratio)
def kto_logsigmoid(
    singles: Singles,
    z: Float[Tensor, ""],
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> tuple[Float[Tensor, " B"], dict[str, Tensor]]:
    """KTO with an unbounded loss: -λ_y·log σ(±β(r - z)) where `kto` has λ_y·(1 - σ(±β(r - z))).

    Ethayarajh et al. 2024, table of variants in app. D, arXiv:2402.01306.

    beta: as in kto; larger stays closer to the reference.
    desirable_weight, undesirable_weight: as in kto; raise the one whose examples are rarer.
    """
    point = z.clamp(min=0)
    weight = _weights(singles, desirable_weight, undesirable_weight)
    values = -weight * F.logsigmoid(beta * _signs(singles) * (singles.log_ratio - point))
    return values, {**_watched(singles, beta), "kl": point.reshape(1)}


def kto_zero(
    singles: Singles,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> tuple[Float[Tensor, " B"], dict[str, Tensor]]:
    """KTO with the reference point at 0: λ_y·(1 - σ(±βr)).  No mismatched answers are needed.

    Ethayarajh et al. 2024, app. D, arXiv:2402.01306.

    beta: as in kto; larger stays closer to the reference.
    desirable_weight, undesirable_weight: as in kto; raise the one whose examples are rarer.
    """
    weight = _weights(singles, desirable_weight, undesirable_weight)
    return weight * torch.sigmoid(-beta * _signs(singles) * singles.log_ratio), _watched(singles, beta)


@whole_step
def kto_simple(singles: Singles, *, beta: Positive = 0.1) -> tuple[Float[Tensor, " B"], dict[str, Tensor]]:
    """Simple KTO: each side's reference point is the other side's mean, with gradient.

    k_D = max(0, mean r over the step's desirable), k_U likewise over the undesirable:
    desirable 1 - σ(β(r - k_U)), undesirable 1 - σ(β(k_D - r)).  HALOs' first report, where both points carry
    gradient; so the step is taken as a whole.

    beta: as in kto; larger stays closer to the reference.
    """
    ratio, desirable = singles.log_ratio, singles.desirable
    of_desirable, of_undesirable = (_mean(ratio, side).clamp(min=0) for side in (desirable, ~desirable))
    point = torch.where(desirable, of_undesirable, of_desirable)
    return torch.sigmoid(-beta * _signs(singles) * (ratio - point)), _watched(singles, beta)


def _mean(values: Tensor, which: Tensor) -> Tensor:
    """Mean of the chosen values, 0 of none."""
    return (values * which).sum() / which.sum().clamp(min=1)


def _signs(singles: Singles) -> Tensor:
    """+1 for desirable, -1 for undesirable responses."""
    return torch.where(singles.desirable, 1.0, -1.0).to(singles.logps.dtype)


def _weights(singles: Singles, desirable: float, undesirable: float) -> Tensor:
    one = singles.logps.new_tensor
    return torch.where(singles.desirable, one(desirable), one(undesirable))


def _watched(singles: Singles, beta: float) -> dict[str, Tensor]:
    rewards, desirable = beta * singles.log_ratio, singles.desirable
    return {
        "rewards/chosen": rewards[desirable],
        "rewards/rejected": rewards[~desirable],
        "logps/chosen": singles.seq_logps[desirable],
        "logps/rejected": singles.seq_logps[~desirable],
    }
