"""Advantages: discounted sums along ragged responses, GAE, baselines within a group, whitening.

Axes: `N` tokens, `B` segments (responses, or groups of them).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heedful.maths.segments import segment_sum, wide


def discounted_sums(values: Float[Tensor, " N"], lengths: Int[Tensor, " B"], discount: float) -> Float[Tensor, " N"]:
    """y_t = x_t + γ·y_{t+1} within each segment of `lengths[i]` values, y = 0 beyond its end.

    Taken by doubling: once y holds the next 2^k values, y_t + γ^(2^k)·y_{t+2^k} holds the next 2^(k+1); so a segment
    of a thousand tokens takes ten additions, without padding.
    """
    ends = lengths.cumsum(0).repeat_interleave(lengths)
    here = torch.arange(values.numel(), device=values.device)
    longest = int(lengths.max()) if lengths.numel() else 0
    sums, reach = values, 1
    while reach < longest:
        ahead = here + reach
        beyond = sums[ahead.clamp(max=values.numel() - 1)]
        sums = sums + discount**reach * torch.where(ahead < ends, beyond, 0.0)
        reach *= 2
    return sums


def gae(
    rewards: Float[Tensor, " N"],
    values: Float[Tensor, " N"],
    lengths: Int[Tensor, " B"],
    *,
    gamma: float,
    gae_lambda: float,
) -> Float[Tensor, " N"]:
    """Generalised advantage estimates: A_t = δ_t + γλ·A_{t+1}, δ_t = r_t + γ·V_{t+1} - V_t.

    rewards, values: r_t after each token, and V_t of the state before it; V = 0 after a segment's last.
    Schulman et al. 2016, eq. 16, arXiv:1506.02438.
    """
    last = torch.zeros_like(values, dtype=torch.bool)
    last[lengths.cumsum(0)[lengths > 0] - 1] = True
    following = torch.where(last, 0.0, values.roll(-1))
    return discounted_sums(rewards + gamma * following - values, lengths, gamma * gae_lambda)


def at_the_end(values: Float[Tensor, " B"], lengths: Int[Tensor, " B"]) -> Float[Tensor, " N"]:
    """Each segment's value at its last place, 0 elsewhere; an empty segment has no place for its own."""
    spread = values.new_zeros(int(lengths.sum()))
    spread[lengths.cumsum(0)[lengths > 0] - 1] = values[lengths > 0]
    return spread


def group_advantages(scores: Float[Tensor, " N"], sizes: Int[Tensor, " B"], *, offset: float) -> Float[Tensor, " N"]:
    """How far each score stands out in its group: (s - mean) / (std + offset), with the population's std.

    offset: keeps a group of nearly equal scores from being blown up; in the scores' own units.
    """
    mean = segment_sum(scores, sizes) / sizes
    centred = scores - mean.repeat_interleave(sizes)
    std = (segment_sum(centred**2, sizes) / sizes).sqrt()
    return centred / (std + offset).repeat_interleave(sizes)


def whiten(values: Float[Tensor, " N"], *, epsilon: float = 1e-8) -> Float[Tensor, " N"]:
    """Mean 0 and (biased) variance 1 over all values; values that do not differ become 0."""
    exact = wide(values)
    centred = exact - exact.mean()
    return (centred * torch.rsqrt((centred**2).mean() + epsilon)).to(values.dtype)
