"""Sums over ragged segments.  Axes: `N` tokens, `B` segments (responses)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_sum(values: Float[Tensor, " N"], lengths: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Sum of each run of `lengths[i]` consecutive values; an empty run sums to 0.

    Runs are contiguous, so the order of additions is fixed and the result is the same bits every time, on GPUs too
    (an `index_add` there is not).
    """
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True, initial=0)


def wide(values: Tensor) -> Tensor:
    """The values in double precision, for sums over many; in single on MPS, which has no double."""
    return values.float() if values.device.type == "mps" else values.double()
