"""The key-value cache of the native sampler: one buffer a layer, filled in place, grown by chunks, rows removable.

Transformers' own cache concatenates, so it copies everything at each token.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

CHUNK = 64
"""Slots added when a buffer is full; growing copies the buffer, so neither one slot nor the whole limit at once."""


class BufferLayer(CacheLayerMixin):
    """Keys and values of one layer in buffers (rows, H, capacity, D), of which `length` slots are filled."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states[:, :, :0]
        self.values = value_states[:, :, :0]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self._grow(end + CHUNK)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grow(self, capacity: int) -> None:
        def grown(old: Tensor) -> Tensor:
            new = old.new_empty((*old.shape[:2], capacity, old.shape[-1]))
            new[:, :, : self.length] = old[:, :, : self.length]
            return new

        self.keys, self.values = grown(self.keys), grown(self.values)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order; one named several times is copied (a prompt's samples share its prefill)."""
        capacity = max(self.keys.shape[-2], self.length + 1)

        def selected(old: Tensor) -> Tensor:
            new = old.new_empty((len(beam_idx), old.shape[1], capacity, old.shape[-1]))
            new[:, :, : self.length] = old[:, :, : self.length].index_select(0, beam_idx)
            return new

        self.keys, self.values = selected(self.keys), selected(self.values)  # pyright: ignore[reportIncompatibleVariableOverride]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


class BufferCache(Cache):
    """One `BufferLayer` for every layer of the model, made as the layers ask for them."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=BufferLayer)


def new_cache(config: Any) -> Cache:
    """A cache for a model of this config: ours, or Transformers' own where a layer keeps something else than keys.

    A sliding window is a mask over our full buffers; a recurrent layer needs its own state.
    """
    config = config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return BufferCache() if kinds <= {"full_attention", "sliding_attention"} else DynamicCache(config=config)
