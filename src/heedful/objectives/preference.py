"""Objectives on preference pairs.  Axes: `P` pairs."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.objectives.settings import Positive
from heedful.objectives.views import Pairs


def implicit_rewards(pairs: Pairs, beta: float) -> dict[str, Tensor]:
    """What preference learning is watched by: implicit rewards β·log(π/π_ref), their margins, how often chosen wins."""
    chosen, rejected = beta * pairs.chosen.log_ratio, beta * pairs.rejected.log_ratio
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
        "logps/chosen": pairs.chosen.seq_logps,
        "logps/rejected": pairs.rejected.seq_logps,
    }


def dpo(pairs: Pairs, *, beta: Positive = 0.1) -> tuple[Float[Tensor, " P"], dict[str, Tensor]]:
    """Direct preference optimisation: -log σ(β·margin), in nats.  Rafailov et al. 2023, eq. 7, arXiv:2305.18290.

    margin = log π(y_w|x)/π_ref(y_w|x) - log π(y_l|x)/π_ref(y_l|x), summed over the responses' tokens.

    beta: how strongly the policy is held to the reference; larger stays closer.  Typically 0.05-0.5.
    """
    return -F.logsigmoid(beta * pairs.margin), implicit_rewards(pairs, beta)
