"""Tree attention on the CPU: the fused kernel of torch, segment by segment, under one autograd function.

Per tree: the prompt and its first response are one causal sequence as they lie; every further response attends to a
copy of the prompt's keys followed by its own.  Of the ways measured (this, one masked square per tree, a merge of two
softmaxes by their log-normalisers, plain matrix products) it is the fastest, or within noise of it, and it wastes
nothing when responses are many.  One autograd function for the whole pack, because the bookkeeping of autograd on
hundreds of small slices costs as much as the attention.

Axes: `h` query heads, `g` key/value heads, `r` = h/g, `T` tokens of the pack, `d` width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful.models.layout import Layout

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class Piece(NamedTuple):
    """Queries [start, end) attend to keys [prompt_start, prompt_end) and, causally, to keys [start, end)."""

    start: int
    end: int
    prompt_start: int
    prompt_end: int


def pieces(layout: Layout) -> Iterator[Piece]:
    """The causal runs of a layout, none of them empty; without keys before it, prompt_start == prompt_end."""
    for tree in layout.trees:
        first = tree.responses[0][1] if tree.responses else tree.prompt_end
        if first > tree.start:
            yield Piece(tree.start, first, tree.start, tree.start)
        for start, end in tree.responses[1:]:
            if end > start:
                yield Piece(start, end, tree.start, tree.prompt_end)


def _template(layout: Layout, dtype: torch.dtype) -> tuple[Tensor, int]:
    """One additive mask of which every piece's mask is a corner: zeros for prompt keys, then a causal triangle."""
    key = ("template", dtype)
    if key not in layout.cache:
        branches = [p for p in pieces(layout) if p.prompt_end > p.prompt_start]
        rows = max((p.end - p.start for p in branches), default=0)
        prompt = max((p.prompt_end - p.prompt_start for p in branches), default=0)
        mask = torch.zeros(rows, prompt + rows, dtype=dtype)
        mask[:, prompt:].masked_fill_(torch.ones(rows, rows, dtype=torch.bool).triu(1), float("-inf"))
        layout.cache[key] = mask, prompt
    return layout.cache[key]


class TreeAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ) v over the trees of a layout: (1 h T d), (1 g T d), (1 g T d) -> (1 T h d)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Float[Tensor, "1 h T d"],
        key: Float[Tensor, "1 g T d"],
        value: Float[Tensor, "1 g T d"],
        layout: Layout,
        scale: float,
    ) -> Float[Tensor, "1 T h d"]:
        heads, tokens, width = query.shape[1:]
        out = query.new_empty(1, tokens, heads, width)
        q, o = _grouped(query, key), _grouped(out.transpose(1, 2), key)
        lse = torch.empty(q.shape[:3], dtype=torch.promote_types(query.dtype, torch.float32))
        for piece in pieces(layout):
            rows = slice(piece.start, piece.end)
            k, v = _keys(key, piece, q.shape[1]), _keys(value, piece, q.shape[1])
            causal, mask = _masking(layout, piece, query.dtype)
            o[:, :, rows], lse[:, :, rows] = _forward(q[:, :, rows], k, v, 0.0, causal, attn_mask=mask, scale=scale)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.layout, ctx.scale = layout, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,) = grads
        query, key, value, out, lse = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.empty_like(key), torch.empty_like(value)
        q, o, g = _grouped(query, key), _grouped(out.transpose(1, 2), key), _grouped(grad.transpose(1, 2), key)
        gq = _grouped(grad_query, key)
        for piece in pieces(ctx.layout):
            rows = slice(piece.start, piece.end)
            k, v = _keys(key, piece, q.shape[1]), _keys(value, piece, q.shape[1])
            causal, mask = _masking(ctx.layout, piece, query.dtype)
            arguments = (g[:, :, rows], q[:, :, rows], k, v, o[:, :, rows], lse[:, :, rows], 0.0, causal)
            gq[:, :, rows], dk, dv = _backward(*arguments, attn_mask=mask, scale=ctx.scale)
            _scatter(grad_key, dk, piece)
            _scatter(grad_value, dv, piece)
        return grad_query, grad_key, grad_value, None, None


def _grouped(x: Tensor, key: Tensor) -> Tensor:
    """(1 h T d) -> (g r T d), a view: key heads play the batch, so that keys need not be repeated."""
    return x[0].unflatten(0, (key.shape[1], -1))


def _keys(x: Float[Tensor, "1 g T d"], piece: Piece, repeats: int) -> Float[Tensor, "g r n d"]:
    own = x[0, :, piece.start : piece.end]
    if piece.prompt_end > piece.prompt_start:
        own = torch.cat([x[0, :, piece.prompt_start : piece.prompt_end], own], 1)
    return own.unsqueeze(1).expand(-1, repeats, -1, -1)


def _masking(layout: Layout, piece: Piece, dtype: torch.dtype) -> tuple[bool, Tensor | None]:
    if piece.prompt_end == piece.prompt_start:
        return True, None
    mask, widest = _template(layout, dtype)
    length = piece.end - piece.start
    return False, mask[None, None, :length, widest - (piece.prompt_end - piece.prompt_start) : widest + length]


def _scatter(total: Float[Tensor, "1 g T d"], part: Float[Tensor, "g r n d"], piece: Piece) -> None:
    """Put a piece's key gradients where they belong.  A tree's first piece comes first and sets; others add to it."""
    part = part.sum(1) if part.shape[1] > 1 else part[:, 0]
    prompt = piece.prompt_end - piece.prompt_start
    if prompt:
        total[0, :, piece.prompt_start : piece.prompt_end] += part[:, :prompt]
    total[0, :, piece.start : piece.end] = part[:, prompt:]
