"""Looking at data before training on it: what a run would see, and the same data in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def convert(
    data: str,
    out: Path,
    *,
    to: str = "heedful",
    split: str = "train",
    reader: str | None = None,
    readers: Sequence[str] = (),
    seed: int = 0,
) -> int:
    """Write `data` (anything `data=` takes) to a .jsonl, .jsonl.gz or .parquet file; return the number of rows.

    to: `heedful` (our own schema, lossless) or one of TRL's formats; what a format cannot say is printed.
    """
    from heedful.examples import load
    from heedful.examples.export import export

    done = export(load(data, split=split, seed=seed, reader=reader, readers=readers), out, to)
    for note in done.notes:
        print(note)
    if done.dropped:
        print(f"{len(done.dropped):,} not written: {'; '.join(sorted({dropped.reason for dropped in done.dropped}))}")
    return done.rows
