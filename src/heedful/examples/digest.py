"""Who examples are: a digest of what they say, wherever they were read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from heedful.examples.io import row_of
from heedful.types import Example


def digest_of_examples(examples: Iterable[Example]) -> str:
    """Of texts and labels, in their order; not of the file that they stand in."""
    digest = hashlib.blake2b(digest_size=16)
    for example in examples:
        row = {key: value for key, value in row_of(example).items() if key != "origin"}
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()
