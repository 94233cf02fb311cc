"""Attention over packs, registered with Transformers under the name `heedful`.

The layout of a pack travels as the attention mask: while a packed forward runs, the mask function registered here
hands the model a `TreeMask` instead of a 4-D tensor, and the model passes it to every layer.  Whoever recomputes a
layer later (gradient checkpointing) holds the very same object, so several packs may be alive at once.  Without a
pack (sampling, padded batches) both functions do what `sdpa` does, soft-capping included.

A model that does not go through these functions, or asks for something unknown, never trains packed: `probe.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.models.layout import Layout

NAME = "heedful"

_current: ContextVar[Layout | None] = ContextVar("heedful_layout", default=None)

# Keywords that models hand on but that change nothing here.
_HARMLESS = {
    "position_ids",
    "cache_position",
    "position_embeddings",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "use_cache",
    "return_dict",
    "layer_idx",
    "num_items_in_batch",
}


class Unsupported(RuntimeError):
    """The model asks its attention for something the packed forward does not do."""


@dataclass(frozen=True, eq=False)
class TreeMask:
    """What a layer gets for a mask: the pack's layout and the sliding window the model wants, if any."""

    layout: Layout
    window: int | None


@contextmanager
def packed(layout: Layout) -> Iterator[None]:
    """While this lasts, models with the `heedful` attention read their input as one pack of this layout."""
    token = _current.set(layout)
    try:
        yield
    finally:
        _current.reset(token)


def register() -> None:
    """Make `heedful` an attention implementation of Transformers.  Does nothing the second time."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)


def mask(**wanted: Any) -> Any:
    """The mask function: a `TreeMask` inside `packed(...)`, otherwise the boolean mask of `sdpa`.

    Raises Unsupported for a bidirectional, chunked or custom mask over a pack.
    """
    layout = _current.get()
    if layout is None:
        from transformers.masking_utils import sdpa_mask

        return sdpa_mask(**wanted)
    if "allow_is_bidirectional_skip" in wanted:
        raise Unsupported("the model attends in both directions")
    if wanted["use_vmap"]:
        raise Unsupported("the model overlays a mask of its own")
    window = wanted.get("local_size")
    if window is not None and window != getattr(wanted["config"], "sliding_window", None):
        raise Unsupported("the model attends in chunks")
    return TreeMask(layout, window)


def attention(
    module: torch.nn.Module,
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b g s d"],
    value: Float[Tensor, "b g s d"],
    attention_mask: TreeMask | Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "b t h d"], None]:
    """The attention function: softmax(scaling · q kᵀ) v over what the mask shows, with optional tanh soft-cap.

    Raises Unsupported for dropout or any keyword that is neither known nor known to be harmless.
    """
    unknown = [name for name, given in others.items() if given is not None and name not in _HARMLESS]
    if unknown:
        raise Unsupported(f"the attention asks for {', '.join(sorted(unknown))}")
    if not isinstance(attention_mask, TreeMask):
        if _current.get() is not None:
            raise Unsupported("a layer builds a mask of its own")
        if softcap is None:
            from transformers.integrations.sdpa_attention import sdpa_attention_forward

            given = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal}
            return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
        if attention_mask is None and query.shape[2] > 1:
            attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        return _plain(query, key, value, attention_mask, scaling, softcap), None
    if dropout:
        raise Unsupported("the attention drops out")
    if is_causal is False:
        raise Unsupported("the model attends in both directions")
    if torch.is_autocast_enabled(query.device.type):
        # Norms of queries and keys promote to float32; SDPA would cast them back by itself, our own kernels do not.
        half = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(half), key.to(half), value.to(half)
    layout, window = attention_mask.layout, attention_mask.window
    if sliding_window is not None:
        window = min(window or sliding_window, sliding_window)
    if window is not None and window >= layout.longest:
        window = None
    return _over_trees(query, key, value, layout, window, scaling, softcap), None


def _over_trees(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    window: int | None,
    scaling: float | None,
    softcap: float | None,
) -> Float[Tensor, "1 t h d"]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda:
        from heedful.models import flex

        if flex.usable(query, value):
            return flex.attend(query, key, value, layout, window, scale, softcap)
    elif window is None and softcap is None and query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        from heedful.models.tree_sdpa import TreeAttention

        return TreeAttention.apply(query, key, value, layout, scale)  # pyright: ignore[reportReturnType]
    rows = [
        _plain(
            query[:, :, tree.start : tree.end],
            key[:, :, tree.start : tree.end],
            value[:, :, tree.start : tree.end],
            layout.visible(number, window),
            scale,
            softcap,
        )
        for number, tree in enumerate(layout.trees)
    ]
    return torch.cat(rows, 1)


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor | None,
    scale: float | None,
    softcap: float | None,
) -> Float[Tensor, "b t h d"]:
    """Dense attention; `seen` is boolean.  SDPA has no soft-cap, so with one the formula is written out."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if softcap is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
        return out.transpose(1, 2)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = softcap * torch.tanh(scores / softcap)
    if seen is not None:
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    return (torch.softmax(scores, -1, dtype=_wide(scores.dtype)).to(value.dtype) @ value).transpose(1, 2)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
