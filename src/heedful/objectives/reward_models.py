"""Objectives that train a scalar head to agree with people.  Axes: `P` pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from heedful.objectives.reduce import Term
from heedful.objectives.settings import NonNegative
from heedful.objectives.views import Pairs


def reward(
    pairs: Pairs, *, margin: bool = False, centring: NonNegative = 0.0
) -> tuple[dict[str, Term], dict[str, Tensor]]:
    """Bradley-Terry reward model: -log σ(s_w - s_l - m), nats.  Bradley & Terry 1952; Ouyang et al. 2022, eq. 1.

    margin: ask for the data's own margin m of each pair (Touvron et al. 2023, §3.2.2), 0 where it gives none;
        without it m = 0.
    centring: weight of (s_w + s_l)², which pins scores around 0; the loss alone leaves their level free.  Larger
        holds harder; typically 0.01.  Eisenstein et al. 2023, arXiv:2312.09244.
    """
    chosen, rejected = pairs.chosen.scores, pairs.rejected.scores
    gap = chosen - rejected
    terms = {"loss": Term(-F.logsigmoid(gap - pairs.asked_margin if margin else gap))}
    if centring > 0:
        terms["centring"] = Term(centring * (chosen + rejected) ** 2)
    return terms, {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": gap,
        "rewards/accuracies": (gap > 0).to(gap.dtype),
    }
