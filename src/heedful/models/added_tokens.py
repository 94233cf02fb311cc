"""Embeddings of tokens that were added to a tokenizer: made from those of the tokens that were there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

NewRows = Literal["spelled", "mean"]
NOISE = 0.01
"""Deviation of the noise that tells new rows apart which would all be the mean."""


@torch.no_grad()
def add_rows(inner: Any, spelled: Mapping[int, Sequence[int]], new_rows: NewRows = "spelled") -> None:
    """Give each new token an embedding (and output row) made of those that are there.

    spelled: new id → ids of the tokens that the same text was before.
    new_rows: `spelled` takes the mean of these, of all where there were none; `mean` takes the mean of all with normal
    noise of deviation 0.01, as Korbak et al. 2023 do (their published code).
    The matrices grow where they have no row for it yet.  The noise is a function of the token's id: every process, and
    a policy and its reference, get the same rows.
    """
    if not spelled:
        return
    rows = inner.get_input_embeddings().weight.shape[0]
    if max(spelled) >= rows:
        with torch.random.fork_rng(devices=[]):  # new rows are drawn at random first, and replaced below
            inner.resize_token_embeddings(max(spelled) + 1, mean_resizing=False)
    for matrix in _matrices(inner):
        for index, parts in spelled.items():
            known = list(parts) if new_rows == "spelled" and parts else slice(0, min(spelled))
            matrix[index] = matrix[known].mean(0)
            if new_rows == "mean":
                generator = torch.Generator().manual_seed(index)
                noise = torch.randn(matrix[index].shape, generator=generator, dtype=torch.float64)
                matrix[index] += NOISE * noise.to(matrix[index])


def _matrices(inner: Any) -> list[Tensor]:
    """Input embeddings, output rows and output bias; tied ones once."""
    head = inner.get_output_embeddings()
    found = [inner.get_input_embeddings().weight, *([] if head is None else [head.weight, head.bias])]
    return list({id(tensor): tensor for tensor in found if tensor is not None}.values())
