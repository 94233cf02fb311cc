"""Tree attention on CUDA: torch's `flex_attention`, compiled, with the layout as its block mask."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.models.layout import Layout


@cache
def _compiled():
    from torch.nn.attention.flex_attention import flex_attention

    # Sizes become dynamic by themselves at the second pack; asked for at once, windows and caps would too, and fail.
    return torch.compile(flex_attention)


@cache
def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()


def usable(query: Tensor, value: Tensor) -> bool:
    """Whether the compiled kernel takes these tensors; otherwise masked SDPA does the work."""
    return _has_triton() and query.dtype != torch.float64 and query.shape[-1] == value.shape[-1] >= 16


def attend(
    query: Float[Tensor, "1 h T d"],
    key: Float[Tensor, "1 g T d"],
    value: Float[Tensor, "1 g T d"],
    layout: Layout,
    window: int | None,
    scale: float,
    softcap: float | None,
) -> Float[Tensor, "1 T h d"]:
    """softmax(softcap(scale · q kᵀ)) v over the trees of a layout."""

    out = _compiled()(
        query,
        key,
        value,
        score_mod=None if softcap is None else (lambda score, b, h, i, j: softcap * torch.tanh(score / softcap)),
        block_mask=block_mask(layout, window),
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2)


def block_mask(layout: Layout, window: int | None):
    """Which blocks of keys a block of queries sees; worked out once per pack and window, used by every layer."""
    from torch.nn.attention.flex_attention import create_block_mask

    kept = ("block_mask", window)
    if kept not in layout.cache:
        tree, segment = layout.segments()
        position = layout.positions

        def seen(i: Tensor, j: Tensor) -> Tensor:
            shown = (tree[i] == tree[j]) & (j <= i) & ((segment[j] == 0) | (segment[i] == segment[j]))
            return shown if window is None else shown & (position[i] - position[j] < window)

        tokens = len(position)
        layout.cache[kept] = create_block_mask(
            lambda b, h, i, j: seen(i, j), None, None, tokens, tokens, device=str(position.device)
        )
    return layout.cache[kept]
