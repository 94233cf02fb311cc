"""Folders that `heed score` wrote: where they list the documents that could not be scored, and so are not in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from heedful.examples.rows import rows_of

BOOKS = ".score"
FAILED = "failed.jsonl"


def not_scored(folder: Path) -> Iterator[str]:
    """Each document that is missing from a folder for want of a score: its origin and the reason; none elsewhere."""
    path = folder / BOOKS / FAILED
    for _, row in rows_of(path) if path.is_file() else ():
        yield f"{row.get('origin')} ({row.get('reason')})"
