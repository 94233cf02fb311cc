"""Oracles of likelihood objectives, each from its formula."""

from __future__ import annotations

from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import rows
from heedful.proofs.oracles.loops import Oracles, total


def sft(batch: Batch, stats: dict, settings: dict) -> Tensor:
    """Mean cross-entropy of the trained tokens."""
    tokens = [logp for response in rows(batch, "logps") for logp in response]
    return -total(tokens) / len(tokens)


ORACLES: Oracles = {"sft": (sft, [{}]), "csft": (sft, [{}])}
