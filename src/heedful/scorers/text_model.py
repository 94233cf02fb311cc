"""Texts through a Transformers model, batch by batch: the same numbers for a text whatever stands beside it.

Axes: `B` texts of a batch, `L` its columns, `C` numbers a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from heedful.types import UserError

TOKENS_PER_BATCH = 8192

Forward = Callable[[dict[str, Tensor]], Float[Tensor, "B C"]]
"""(input_ids, attention_mask, for some token_type_ids; each (B, L), padded on the right) -> numbers of each text."""


@dataclass
class TextModel:
    """A model that reads texts or pairs of texts.

    max_length: tokens of a text, special ones included; a longer text loses its end, or its beginning if `keeps` says
    so.  Of a pair the longer text loses first.  pad_id: what fills up a batch; masked.
    has_types: whether the model tells the two texts of a pair apart by token types.
    num_texts, num_cut: texts read so far, and how many of them were cut.
    """

    tokenizer: Any
    forward: Forward
    max_length: int
    keeps: Literal["beginning", "end"]
    pad_id: int
    device: str
    has_types: bool = False
    num_texts: int = 0
    num_cut: int = 0

    def __call__(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> np.ndarray:
        """The model's numbers (len(texts), C) of each text, or of each pair (text, second)."""
        if not texts:
            return np.zeros((0, 1))
        rows = self._tokenised(list(texts), None if seconds is None else list(seconds))
        found: list[np.ndarray | None] = [None] * len(texts)
        with torch.inference_mode():
            for batch in similar([len(ids) for ids in rows["input_ids"]]):
                numbers = self.forward(self._padded(rows, batch)).float().cpu().numpy()
                for row, values in zip(batch, numbers, strict=True):
                    found[row] = values
        return np.stack([values for values in found if values is not None])

    def note(self) -> str:
        """How many texts were cut, or nothing."""
        lost = "end" if self.keeps == "beginning" else "beginning"
        what = f"longer than {self.max_length:,} tokens and lost their {lost}"
        return f"{self.num_cut:,} of {self.num_texts:,} texts were {what}" if self.num_cut else ""

    def _tokenised(self, texts: list[str], seconds: list[str] | None) -> dict[str, list[list[int]]]:
        self.tokenizer.truncation_side = "right" if self.keeps == "beginning" else "left"
        settings = {"return_token_type_ids": self.has_types, "return_attention_mask": False, "verbose": False}
        rows = self.tokenizer(texts, seconds, truncation=False, **settings)
        if not all(rows["input_ids"]):
            raise UserError("a text to be scored has no token: its tokenizer knows none of its characters")
        num_cut = sum(len(ids) > self.max_length for ids in rows["input_ids"])
        self.num_texts += len(texts)
        self.num_cut += num_cut
        if num_cut:
            rows = self.tokenizer(texts, seconds, truncation=True, max_length=self.max_length, **settings)
        return {name: rows[name] for name in ("input_ids", "token_type_ids") if name in rows}

    def _padded(self, rows: dict[str, list[list[int]]], batch: list[int]) -> dict[str, Tensor]:
        def column(values: list[list[int]], fill: int) -> Tensor:
            parts = [torch.tensor(values[row], dtype=torch.long) for row in batch]
            return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill).to(self.device)

        ids = rows["input_ids"]
        padded = {"input_ids": column(ids, self.pad_id), "attention_mask": column([[1] * len(row) for row in ids], 0)}
        if "token_type_ids" in rows:
            padded["token_type_ids"] = column(rows["token_type_ids"], 0)
        return padded


def similar(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of sequences of similar length, shortest first: batches of at most `TOKENS_PER_BATCH` padded tokens."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def at_last_token(trunk: nn.Module, head: nn.Module) -> Forward:
    """`head` on the final hidden state of each text's last token.

    Padding stands on the right, so a decoder neither sees it nor counts it in its positions.
    """

    def forward(inputs: dict[str, Tensor]) -> Tensor:
        mask = inputs["attention_mask"]
        states = trunk(input_ids=inputs["input_ids"], attention_mask=mask, use_cache=False)[0]
        last = mask.sum(1) - 1
        return head(states[torch.arange(len(last), device=last.device), last])

    return forward
