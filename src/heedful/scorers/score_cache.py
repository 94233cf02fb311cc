"""Scores on disk: computed once for a (scorer, prompt, response), whatever data they stand in.

One file a scorer, of records (key, score).  Records are only ever appended, a batch at a time, so what a killed run had
computed is there for the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from heedful.types import Example, Response

RECORD = np.dtype([("key", "V16"), ("score", "<f8")])


class ScoreCache:
    """The scores of one scorer.

    identity: who the scorer is; its digest names the file in `folder`.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}.scores"
        self.scores: dict[bytes, float] = {}
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        records = np.frombuffer(content[: len(content) // RECORD.itemsize * RECORD.itemsize], RECORD)
        for key, score in zip(records["key"], records["score"].tolist(), strict=True):
            self.scores.setdefault(key.tobytes(), score)

    def add(self, found: Mapping[bytes, float]) -> None:
        """Keep these scores, on disk too.

        One that is there already stays: beside other texts a model may give other last bits, and a run that resumes
        must find what it began with.
        """
        with self.path.open("ab") as file, _alone(file):
            # Another process may have added since; a killed one may have left half a record.
            self._read()
            new = {key: score for key, score in found.items() if key not in self.scores}
            os.ftruncate(file.fileno(), self.path.stat().st_size // RECORD.itemsize * RECORD.itemsize)
            file.write(np.array([(np.void(key), score) for key, score in new.items()], RECORD).tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.scores.update(new)


@contextlib.contextmanager
def _alone(file: IO[bytes]):
    """While no other process writes the file (Windows and some cluster file systems lock nothing)."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
    yield


def key_of(example: Example, response: Response) -> bytes:
    """16 bytes that name a response by content: its prompt's turns, its own, and whether a limit cut it."""
    turns = [[[m.role, m.content] for m in messages] for messages in (example.prompt, response.messages)]
    content = json.dumps([turns, response.is_unfinished])
    return hashlib.blake2b(content.encode(), digest_size=16).digest()
