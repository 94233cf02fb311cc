"""Next-token choice by inverse distribution function: two uniforms a row, no generator state.

Axes: `B` rows, `V` vocabulary, `W` weights.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def choose(
    logits: Float[Tensor, "B V"],
    uniform: Float[Tensor, "B 2"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Int[Tensor, " B"]:
    """A token drawn from softmax(logits / temperature), as a function of two uniforms in [0, 1) a row.

    temperature: 0 takes the most likely token; larger is more random.
    top_k: only the k most likely tokens; None takes all.
    top_p: only the smallest set of most likely tokens whose probability reaches top_p (Holtzman et al. 2020,
        arXiv:1904.09751); at least one.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if top_k is None and top_p >= 1.0:
        return _invert(probabilities, uniform)
    count = probabilities.shape[-1] if top_k is None else min(top_k, probabilities.shape[-1])
    kept, tokens = probabilities.topk(count, dim=-1)  # sorted, most likely first
    if top_p < 1.0:
        kept = kept / kept.sum(-1, keepdim=True)
        before = kept.cumsum(-1) - kept
        kept = kept.masked_fill(before >= top_p, 0.0)
    return tokens.gather(-1, _invert(kept, uniform)[:, None])[:, 0]


def _invert(weights: Float[Tensor, "B W"], uniform: Float[Tensor, "B 2"]) -> Int[Tensor, " B"]:
    """Index i with probability weights[i] / sum: first a block of about √W neighbours, then one of the block.

    Logits differ in their last bits with the shape of the batch.  Each boundary between two tokens then moves a little
    and may pass the uniform, so 2√W boundaries keep a sample the same in other company far more often than W do.
    """
    width = math.isqrt(weights.shape[-1] - 1) + 1
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % width)).unflatten(-1, (-1, width))
    block = _search(blocks.sum(-1), uniform[:, 0])
    inside = blocks[torch.arange(len(block), device=block.device), block]
    return block * width + _search(inside, uniform[:, 1])


def _search(weights: Float[Tensor, "B W"], uniform: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The i with F(i-1) <= u·F(last) < F(i); never one of weight zero."""
    mass = weights.to(torch.float64).cumsum(-1)
    target = uniform.to(torch.float64)[:, None] * mass[:, -1:]
    return torch.searchsorted(mass, target, right=True)[:, 0]
