"""From tokenised examples to packs, for whoever reads a model's numbers without training it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from heedful.tokens.encoded import EncodedExample
from heedful.tokens.packs import Pack, build_pack
from heedful.tokens.store import TokenStore
from heedful.types import Example

TOKENS_PER_PACK = 4096


def packs_of(encoded: Sequence[EncodedExample], examples: Sequence[Example]) -> Iterator[Pack]:
    """Packs that hold every response once.  `Pack.response_rows` count the responses in the order of `encoded`.

    Examples of similar length stand together; one that is longer than a pack gets a pack of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.write(Path(folder) / "store", encoded, examples)
        batch: list[int] = []
        for row in np.argsort(store.example_lengths, kind="stable").tolist():
            if batch and store.example_lengths[[*batch, row]].sum() > TOKENS_PER_PACK:
                yield build_pack(store, batch)
                batch = []
            batch.append(row)
        if batch:
            yield build_pack(store, batch)
