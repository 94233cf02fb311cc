"""The one face of a tokenizer that templates use: strings to ids without special tokens, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from heedful.tokens.memory import current_memory
from heedful.types import UserError

CONTEXT = 8
"""Tokens behind which others are decoded: more than any one character or blank reaches over."""


class Vocabulary:
    """A fast tokenizer, without truncation, padding or special tokens of its own accord.

    bos_id: the token it puts before plain text of its own accord, or None.
    start_id: what stands for an empty prompt: BOS, or EOS where there is none.
    eos_id: the token that ends a text (BERT's kin: the separator), or None.
    special_ids: tokens that text cannot spell by accident (special and added ones).
    """

    def __init__(self, tokenizer: Any):
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"The tokenizer {type(tokenizer).__name__} has no fast version; convert it to a tokenizer.json."
            )
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._blanks_of: dict[int, int] = {}
        self.eos_id: int | None = _first(tokenizer.eos_token_id, tokenizer.sep_token_id)
        bos = _first(tokenizer.bos_token_id, tokenizer.cls_token_id)
        with_special = tokenizer("a", add_special_tokens=True)["input_ids"]
        self.bos_id: int | None = bos if bos is not None and with_special[:1] == [bos] else None
        self.start_id: int | None = _first(bos, self.eos_id)
        self.special_ids = frozenset(tokenizer.all_special_ids) | frozenset(tokenizer.get_added_vocab().values())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, nothing added."""
        memory = current_memory()
        return self._encode(texts) if memory is None else memory.encode(texts, self._encode, self._identity)

    @cached_property
    def _identity(self) -> bytes:
        return bytes.fromhex(self.digest())

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._ready().encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids and, for each token, the character position where it ends.

        Tokens tile the text: one starts where the one before it ends.
        """
        ids, ends = self._tiled(self._ready().encode(text, add_special_tokens=False), len(text))
        return ids.tolist(), ends.tolist()

    def encode_with_starts(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each text, token ids (int32) and the character position where each token starts (int64).

        Tokens tile the text, as in `encode_with_ends`.
        """
        found = []
        for text, encoding in zip(
            texts, self._ready().encode_batch(list(texts), add_special_tokens=False), strict=True
        ):
            ids, ends = self._tiled(encoding, len(text))
            found.append((ids, np.concatenate([[0], ends[:-1]]) if len(ids) else ends))
        return found

    def _tiled(self, encoding: Any, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and ends.  Some tokenizers trim blanks off a token's span, and leave nothing of one that is all
        blanks; those are given back by the token's own text.
        """
        ids = np.array(encoding.ids, np.int32)
        begins, ends = np.array(encoding.offsets, np.int64).reshape(len(ids), 2).T.copy()
        gaps = np.append(begins[1:], length)[: len(ids)] - ends
        empty = np.flatnonzero(begins >= ends)
        for i in np.flatnonzero((gaps > 0) & (begins < ends)).tolist():
            blanks = self._blanks(int(ids[i]))
            ends[i] += blanks if blanks <= gaps[i] else 0
        for i in empty.tolist():
            ends[i] = (ends[i - 1] if i else 0) + len(self.decode([int(ids[i])]))
        return ids, np.maximum.accumulate(ends)

    def _blanks(self, token: int) -> int:
        """How many blanks the text of a token ends with."""
        found = self._blanks_of.get(token)
        if found is None:
            text = self.decode([token])
            found = self._blanks_of[token] = len(text) - len(text.rstrip(" "))
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the tokens, special ones included, blanks untouched."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text `ids` add after `before` (alone, some tokenizers drop their leading blank)."""
        before = before[-CONTEXT:]
        return self.decode([*before, *ids])[len(self.decode(before)) :]

    def token(self, index: int) -> str:
        """How text spells the token."""
        return self.tokenizer.convert_ids_to_tokens(index)

    def special_id(self, token: str) -> int:
        """The id of a special token.  Raises UserError if the tokenizer has none of that name."""
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index not in self.special_ids or self.token(index) != token:
            known = ", ".join(sorted(self.token(i) for i in self.special_ids))
            raise UserError(f"{token} is no special token of the tokenizer; it has {known or 'none'}.")
        return index

    def digest(self) -> str:
        """Of everything that decides which ids a text gets."""
        description = json.loads(self._backend.to_str())
        description.pop("truncation", None)
        description.pop("padding", None)
        state = [description, self.bos_id, self.start_id, self.eos_id, self.tokenizer.special_tokens_map]
        return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _ready(self) -> Any:
        """The backend without the truncation and padding that other callers may have left switched on."""
        self._backend.no_truncation()
        self._backend.no_padding()
        return self._backend


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def common_prefix(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    n = min(len(first), len(second))
    return next((i for i in range(n) if first[i] != second[i]), n)
