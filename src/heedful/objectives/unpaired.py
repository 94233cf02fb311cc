"""Objectives on single responses with a thumb up or down.  Axes: `B` responses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.maths import matched_quantiles, updated_mean, wide
from heedful.objectives.reduce import Term, statistics, whole_step
from heedful.objectives.settings import FlipRate, NonNegative, Positive
from heedful.objectives.views import Singles
from heedful.types import UserError


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
    """Kahneman-Tversky optimisation: λ_y·(1 - σ(±β(r - z))), + if desirable, - if not.

    Ethayarajh et al. 2024, eq. 8, arXiv:2402.01306.  r = log π(y|x)/π_ref(y|x);  λ_y: λ_D or, of the undesirable, λ_U.
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
    """Simple KTO: 1 - σ(β(r - k_U)) if desirable, 1 - σ(β(k_D - r)) if not.

    Each side's reference point is the other side's mean, with gradient: k_D = max(0, mean r over the step's
    desirable), k_U likewise over the undesirable.  HALOs' first report, where both points carry
    gradient; so the step is taken as a whole.

    beta: as in kto; larger stays closer to the reference.
    """
    ratio, desirable = singles.log_ratio, singles.desirable
    of_desirable, of_undesirable = (_mean(ratio, side).clamp(min=0) for side in (desirable, ~desirable))
    point = torch.where(desirable, of_undesirable, of_desirable)
    return torch.sigmoid(-beta * _signs(singles) * (ratio - point)), _watched(singles, beta)


def bco(
    singles: Singles,
    state: dict[str, Tensor],
    *,
    beta: Positive = 0.1,
    density_ratio: bool = False,
    min_ratio: NonNegative = 0.5,
    max_ratio: Positive = 10.0,
) -> tuple[Float[Tensor, " B"], dict[str, Tensor], dict[str, Tensor]]:
    """Binary classifier optimisation: desirable -log σ(βr - δ), undesirable -w·log σ(δ - βr).

    δ = ½·(mean βr of the desirable + mean βr of the undesirable) over all responses met so far, this step's among them,
    without gradient: the shift that brings the classifier's loss nearest to dpo's.  Jung et al. 2024, arXiv:2404.04656.
    The published trainer keeps one mean of both, which leans to the side that has more data.

    beta: scale of the implicit reward; larger saturates sooner and stays closer to the reference.
    density_ratio: weigh each undesirable response by w = p/(1-p), clamped, where p is the data's column
        `prompt_desirability`: the probability, by a classifier of prompts, that its prompt belongs to a desirable
        response.  It makes the undesirable prompts count as if drawn like the desirable ones.  Without it w = 1.
    min_ratio: least weight; larger keeps more of the prompts that only undesirable responses have.
    max_ratio: most weight; smaller lets no few responses dominate.
    """
    if min_ratio > max_ratio:
        raise UserError(f"min_ratio={min_ratio} is above max_ratio={max_ratio}; a density ratio must lie between them.")
    rewards, desirable = beta * singles.log_ratio, singles.desirable
    state = _side_means(state, rewards, desirable)
    shift = (state["mean"].sum() / (state["count"] > 0).sum().clamp(min=1)).to(rewards.dtype)
    values = -F.logsigmoid(_signs(singles) * (rewards - shift))
    metrics = {**_watched(singles, beta), "shift": shift.reshape(1)}
    if density_ratio:
        p = singles.batch.response("prompt_desirability")
        weight = torch.where(desirable, 1.0, (p / (1 - p)).clamp(min_ratio, max_ratio))
        values, metrics = weight * values, {**metrics, "weights": weight[~desirable]}
    return values, metrics, state


def _side_means(state: dict[str, Tensor], rewards: Tensor, desirable: Tensor) -> dict[str, Tensor]:
    """Running means of the desirable and of the undesirable responses' rewards."""
    sides = torch.stack([desirable, ~desirable])
    return updated_mean(state, (wide(rewards.detach()) * sides).sum(1), wide(sides).sum(1))


@whole_step
def aot_unpaired(
    singles: Singles, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.0
) -> tuple[Term, dict[str, Tensor]]:
    """Alignment via optimal transport, unpaired: ∫ ℓ(β(Q_D(q) - Q_U(q))) dq.

    The desirable's rewards are to dominate the undesirable's as a whole.  Q_D, Q_U: the quantile functions of the
    step's log-ratios, of which there may be more on one side; ℓ(d) = -(1-ε)·log σ(d) - ε·log σ(-d).  Melnyk et al.
    2024, eq. 4, arXiv:2406.05882.

    beta: scale; larger stays closer to the reference.
    label_smoothing: ε, the share of labels believed to be wrong; larger trusts them less.  Below 0.5.
    """
    ratio, desirable = singles.log_ratio, singles.desirable
    upper, lower, width = matched_quantiles(ratio[desirable], ratio[~desirable])
    d = beta * (upper - lower)
    values = -(1 - label_smoothing) * F.logsigmoid(d) - label_smoothing * F.logsigmoid(-d)
    return Term(values, width), _watched(singles, beta)


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
