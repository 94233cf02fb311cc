"""Tokens of texts, remembered while several runs read the same data: each text is tokenised once for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

Encode = Callable[[Sequence[str]], list[list[int]]]


class TokenMemory:
    """Token ids by tokenizer and text, 4 bytes a token."""

    def __init__(self) -> None:
        self.ids: dict[bytes, np.ndarray] = {}
        self.num_tokenised = 0
        """Texts that were given to a tokenizer."""

    def encode(self, texts: Sequence[str], encode: Encode, tokenizer: bytes) -> list[list[int]]:
        """`encode(texts)`, of which only those that were not met before are tokenised.

        tokenizer: 16 bytes that name it.
        """
        keys = [hashlib.blake2b(text.encode(), digest_size=16, salt=tokenizer).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.ids}
        self.num_tokenised += len(new)
        found = encode(list(new.values()))
        self.ids |= {key: np.array(ids, np.int32) for key, ids in zip(new, found, strict=True)}
        return [self.ids[key].tolist() for key in keys]


_CURRENT: ContextVar[TokenMemory | None] = ContextVar("token_memory", default=None)


def current_memory() -> TokenMemory | None:
    """The memory of the `remembering_tokens` around the caller; None outside."""
    return _CURRENT.get()


@contextmanager
def remembering_tokens() -> Iterator[TokenMemory]:
    """Within this block every tokenizer remembers the texts it was given."""
    memory = TokenMemory()
    token = _CURRENT.set(memory)
    try:
        yield memory
    finally:
        _CURRENT.reset(token)
