"""Embeddings of tokens that were added to a tokenizer: made from those of the tokens that spelled them before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def add_rows(inner: Any, spelled: Mapping[int, Sequence[int]]) -> None:
    """Give each new token the mean embedding (and output row) of the tokens that spelled it.

    spelled: new id → ids of the tokens that the same text was before; one that had none gets the mean of all.
    The matrices grow where they have no row for it yet.  No random number is drawn: every process, and a policy and its
    reference, get the same rows.
    """
    if not spelled:
        return
    rows = inner.get_input_embeddings().weight.shape[0]
    if max(spelled) >= rows:
        with torch.random.fork_rng(devices=[]):  # new rows are drawn at random first, and replaced below
            inner.resize_token_embeddings(max(spelled) + 1, mean_resizing=False)
    for matrix in _matrices(inner):
        for index, parts in spelled.items():
            matrix[index] = matrix[list(parts) or slice(0, min(spelled))].mean(0)


def _matrices(inner: Any) -> list[Tensor]:
    """Input embeddings, output rows and output bias; tied ones once."""
    head = inner.get_output_embeddings()
    found = [inner.get_input_embeddings().weight, *([] if head is None else [head.weight, head.bias])]
    return list({id(tensor): tensor for tensor in found if tensor is not None}.values())
