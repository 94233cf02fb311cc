"""The same pack as a padded batch: one row per response, its prompt before it, padding at the end.

For models that cannot read a pack (see `probe.py`).  Axes: `B` responses, `L` columns, `N` trained tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from heedful.models.batch import PackTensors
from heedful.models.heads import base_of, trunk_of


class Rows(NamedTuple):
    """ids and mask of the padded batch; `sources` and `last` index its flattened (B·L) positions."""

    ids: Int[Tensor, "B L"]
    mask: Bool[Tensor, "B L"]
    sources: Int[Tensor, " N"]
    last: Int[Tensor, " B"]


def to_rows(pack: PackTensors, pad_id: int) -> Rows:
    """Unfold a pack: every response behind its own copy of the prompt."""
    device = pack.ids.device
    starts = torch.tensor([tree.start for tree in pack.layout.trees], device=device)[pack.response_tree]
    prompt_ends = torch.tensor([tree.prompt_end for tree in pack.layout.trees], device=device)[pack.response_tree]
    prompts = prompt_ends - starts
    lengths = prompts + pack.response_ends - pack.response_starts
    width = int(lengths.max())
    columns = torch.arange(width, device=device)[None]
    flat = torch.where(columns < prompts[:, None], starts[:, None], (pack.response_starts - prompts)[:, None]) + columns
    mask = columns < lengths[:, None]
    ids = torch.where(mask, pack.ids[torch.where(mask, flat, 0)], pad_id)

    row = pack.response_of
    inside = pack.sources >= pack.response_starts[row]
    column = pack.sources - torch.where(inside, pack.response_starts[row] - prompts[row], starts[row])
    last = torch.arange(pack.num_responses, device=device) * width + lengths - 1
    return Rows(ids, mask, row * width + column, last)


def forward(inner: nn.Module, rows: Rows) -> Tensor:
    """Final hidden states of every cell, flattened to (B·L, D).  Padding stands at the end, so positions count up."""
    out = trunk_of(inner)(input_ids=rows.ids, attention_mask=rows.mask.long(), use_cache=False)
    return out[0].flatten(0, 1)


@dataclass(frozen=True)
class PairFrame:
    """The special tokens an encoder wants around a text pair: `before` prompt `between` response `after`.

    types: token types of the prompt's part and the response's part.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int]

    @property
    def num_special(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)

    @staticmethod
    def of(tokenizer: Any, num_types: int) -> PairFrame:
        """Read off what the tokenizer itself puts around a pair, for a model that tells `num_types` of tokens apart."""
        ids = tokenizer("a", "a", return_token_type_ids=True)
        types = ids["token_type_ids"] if num_types > 1 else [0] * len(ids["input_ids"])
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        ids = ids["input_ids"]
        first = _find(ids, plain, 0)
        second = _find(ids, plain, first + len(plain))
        end = second + len(plain)
        return PairFrame(
            tuple(ids[:first]), tuple(ids[first + len(plain) : second]), tuple(ids[end:]), (types[first], types[second])
        )


def _find(ids: list[int], part: list[int], start: int) -> int:
    return next(at for at in range(start, len(ids)) if ids[at : at + len(part)] == part)


def encoder_scores(inner: nn.Module, pack: PackTensors, frame: PairFrame) -> Tensor:
    """Scores (B,) of an encoder with one label: each response as the second text of a pair, its prompt the first."""
    base = base_of(inner)
    pad_id = base.config.pad_token_id or 0
    ids, types = [], []
    for tree, start, end in zip(
        pack.response_tree.tolist(), pack.response_starts.tolist(), pack.response_ends.tolist(), strict=True
    ):
        layout = pack.layout.trees[tree]
        first = [*frame.before, *pack.ids[layout.start : layout.prompt_end].tolist(), *frame.between]
        second = [*pack.ids[start:end].tolist(), *frame.after]
        ids.append(torch.tensor(first + second))
        types.append(torch.tensor([frame.types[0]] * len(first) + [frame.types[1]] * len(second)))
    device = pack.ids.device
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad_id).to(device)
    lengths = torch.tensor([len(row) for row in ids], device=device)
    mask = (torch.arange(padded.shape[1], device=device)[None] < lengths[:, None]).long()
    given = {"input_ids": padded, "attention_mask": mask}
    if any(frame.types):
        given["token_type_ids"] = nn.utils.rnn.pad_sequence(types, batch_first=True).to(device)
    return base(**given).logits[:, 0]
