"""What the oracles share: sums over one response or one pair, as plain loops over tokens in float64.

Written independently of `heedful.objectives`: nothing here sums segments or selects rows.  Axes: none; everything is
a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import groups, rows

Oracle = Callable[[Batch, dict[str, Any], dict[str, Any]], Tensor]
"""(batch, statistics over the step, settings) -> one loss for the batch, as the paper averages it."""

Oracles = dict[str, tuple[Oracle, list[dict[str, Any]]]]
"""Name → the oracle and the settings it is compared at.  What follows a space in a name tells several of one apart."""


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum, 0 of none."""
    result = torch.zeros((), dtype=torch.float64)
    for value in values:
        result = result + value
    return result


def log_ratio(batch: Batch, response: int) -> Tensor:
    """log π(y|x) - log π_ref(y|x)."""
    logps, refs = rows(batch, "logps")[response], rows(batch, "ref_logps")[response]
    return total(logp - ref for logp, ref in zip(logps, refs, strict=True))


def total_logp(batch: Batch, response: int) -> Tensor:
    """log π(y|x)."""
    return total(rows(batch, "logps")[response])


def total_ref_logp(batch: Batch, response: int) -> Tensor:
    """log π_ref(y|x)."""
    return total(rows(batch, "ref_logps")[response])


def mean_logp(batch: Batch, response: int) -> Tensor:
    """log π(y|x) a token."""
    return total_logp(batch, response) / len(rows(batch, "logps")[response])


def sigmoid(x: Tensor) -> Tensor:
    """As it is written in the papers."""
    return 1.0 / (1.0 + torch.exp(-x))


def log_sigmoid(x: Tensor) -> Tensor:
    """As it is written in the papers."""
    return torch.log(sigmoid(x))


def desirable(batch: Batch, response: int) -> bool:
    """Whether people found it so."""
    return bool(batch.responses["desirable"][response] == 1)


def pairs_of(batch: Batch) -> list[tuple[int, int]]:
    """(chosen, rejected) of each prompt."""
    found = []
    for members in groups(batch):
        chosen = [r for r in members if batch.responses["chosen"][r] == 1]
        rejected = [r for r in members if batch.responses["chosen"][r] == 0]
        found.append((chosen[0], rejected[0]))
    return found


def over_pairs(loss: Callable[[Batch, int, int, dict[str, Any]], Tensor]) -> Oracle:
    """An oracle that is the mean of one formula over pairs."""

    def oracle(batch: Batch, stats: dict[str, Any], settings: dict[str, Any]) -> Tensor:
        losses = [loss(batch, chosen, rejected, settings) for chosen, rejected in pairs_of(batch)]
        return total(losses) / len(losses)

    return oracle
