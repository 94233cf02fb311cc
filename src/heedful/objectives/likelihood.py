"""Maximum likelihood: imitate the data.  Axes: `N` trained tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.objectives.control import control_tokens
from heedful.objectives.reduce import Term
from heedful.objectives.views import Singles, Tokens


def sft(tokens: Tokens) -> Float[Tensor, " N"]:
    """Supervised fine-tuning: -log π(token), nats, averaged over all trained tokens of the step.

    The cross-entropy of the demonstrated tokens; over whole documents it is the pretraining objective.
    """
    return -tokens.logps


@control_tokens(good="good_token", bad="bad_token")
def csft(
    singles: Singles, *, good_token: str = "<|good|>", bad_token: str = "<|bad|>"
) -> tuple[Term, dict[str, Tensor]]:
    """Conditional supervised fine-tuning: -log π(token | prompt, control token) of good and bad answers alike, nats.

    A control token at the end of the prompt says which kind of answer follows, and sampling asks for the good kind.
    Korbak et al. 2023, arXiv:2302.08582; as in HALOs, averaged over all trained tokens of the step.  The published
    code puts the token into the answer, where it is predicted instead of given (and, earlier, loses it).

    good_token: stands before every desirable answer, and before every answer when sampling.
    bad_token: stands before every undesirable answer; must differ.
    """
    of_desirable = torch.repeat_interleave(singles.desirable, singles.lengths)
    metrics = {"logps/chosen": singles.logps[of_desirable], "logps/rejected": singles.logps[~of_desirable]}
    return Term(-singles.logps, over="tokens"), metrics
