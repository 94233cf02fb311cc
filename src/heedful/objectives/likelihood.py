"""Maximum likelihood: imitate the data.  Axes: `N` trained tokens."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from heedful.objectives.views import Tokens


def sft(tokens: Tokens) -> Float[Tensor, " N"]:
    """Supervised fine-tuning: -log π(token), nats, averaged over all trained tokens of the step.

    The cross-entropy of the demonstrated tokens; over whole documents it is the pretraining objective.
    """
    return -tokens.logps
