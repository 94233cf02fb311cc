"""Stores and encoded examples made of plain numbers, for tests that need no tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.store import TokenStore
from heedful.types import Example, Message, Response


def encoded(prompt: list[int], *responses: tuple[list[int], list[bool]], row: int = 0) -> EncodedExample:
    return EncodedExample(
        np.array(prompt, np.int32),
        [EncodedResponse(np.array(ids, np.int32), np.array(trained, bool)) for ids, trained in responses],
        row=row,
    )


def blank_example(num_responses: int, origin: str = "made up") -> Example:
    return Example(
        [Message("text", "")], [Response([Message("text", "")]) for _ in range(num_responses)], origin=origin
    )


def store_of(path: Path, items: list[EncodedExample]) -> TokenStore:
    for row, item in enumerate(items):
        item.row = row
    return TokenStore.write(
        path, items, [blank_example(len(item.responses), f"row {i}") for i, item in enumerate(items)]
    )


_responses = st.lists(
    st.lists(st.tuples(st.integers(0, 999), st.booleans()), min_size=1, max_size=6), min_size=1, max_size=4
)


@st.composite
def encoded_examples(draw, min_size: int = 1, max_size: int = 6) -> list[EncodedExample]:
    items = []
    for _ in range(draw(st.integers(min_size, max_size))):
        prompt = draw(st.lists(st.integers(0, 999), min_size=1, max_size=6))
        pairs = draw(_responses)
        items.append(encoded(prompt, *(([i for i, _ in pair], [t for _, t in pair]) for pair in pairs)))
    return items
