"""A pack on a device, as the model reads it.

Axes: `T` tokens, `G` trees (prompts), `B` responses, `N` trained response tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from heedful.models.layout import Layout
from heedful.tokens.packs import Pack


@dataclass(frozen=True, eq=False)
class PackTensors:
    """What a forward needs of a pack.  All index tensors count flat tokens of the pack.

    ids, positions: the tokens, and their places (restarting after the prompt for every response).
    targets: trained response tokens; sources: the token that predicts each; response_of: whose they are.
    last: the last token of each response.
    layout: where the trees lie.
    """

    ids: Int[Tensor, " T"]
    positions: Int[Tensor, " T"]
    targets: Int[Tensor, " N"]
    sources: Int[Tensor, " N"]
    response_of: Int[Tensor, " N"]
    last: Int[Tensor, " B"]
    response_starts: Int[Tensor, " B"]
    response_ends: Int[Tensor, " B"]
    response_tree: Int[Tensor, " B"]
    layout: Layout

    @property
    def num_responses(self) -> int:
        return len(self.last)


def to_tensors(pack: Pack, device: torch.device | str = "cpu") -> PackTensors:
    """Move a pack (numpy, flat) to a device."""

    def move(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device, non_blocking=True)

    positions = move(pack.positions)
    spans = list(zip(pack.response_starts.tolist(), pack.response_ends.tolist(), strict=True))
    layout = Layout.build(
        pack.tree_starts.tolist(), pack.prompt_lengths.tolist(), spans, pack.response_tree.tolist(), positions
    )
    return PackTensors(
        ids=move(pack.ids),
        positions=positions,
        targets=move(pack.targets),
        sources=move(pack.sources),
        response_of=move(pack.response_of),
        last=move(pack.response_ends - 1),
        response_starts=move(pack.response_starts),
        response_ends=move(pack.response_ends),
        response_tree=move(pack.response_tree),
        layout=layout,
    )
