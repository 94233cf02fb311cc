"""One shard of documents: scored in whatever process it is given to, which also spells the file it becomes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from heedful.scorers import Scorer, get
from heedful.scorers.documents import Judgement, Split, judge_documents

Row = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """Documents that are scored together.  rows: `text`, `origin`, perhaps `id`.  digest: of all of them."""

    number: int
    rows: list[Row]
    digest: str

    @staticmethod
    def of(number: int, rows: list[Row]) -> Shard:
        return Shard(number, rows, hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest())


@dataclass(frozen=True)
class Done:
    """What became of a shard.  failures: (origin, reason) of the documents that could not be scored."""

    number: int
    digest: str
    documents: int
    characters: int
    seconds: float
    failures: list[list[str]] = field(default_factory=list)


def annotate(shard: Shard, name: str, split: Split, form: str, device: str) -> tuple[Done, bytes]:
    """Score a shard: what became of it, and its file (`jsonl` or `parquet`).  device: where a model runs."""
    began = time.monotonic()
    return finish(shard, judge(shard.rows, name, split, device), name, form, began)


def judge(rows: Sequence[Row], name: str, split: Split, device: str) -> list[Judgement | str]:
    """What the scorer says of each document, or why it could not say it."""
    return judge_documents(_scorer(name, device), [row["text"] for row in rows], split)


def load_scorer(name: str, device: str) -> bool:
    """Load the scorer, as every process does that judges with it."""
    _scorer(name, device)
    return True


def finish(shard: Shard, judged: Sequence[Judgement | str], name: str, form: str, began: float) -> tuple[Done, bytes]:
    """What became of a shard whose documents were judged since `began`, and its file."""
    rows, failures = [], []
    for row, judgement in zip(shard.rows, judged, strict=True):
        if isinstance(judgement, Judgement):
            rows.append({**row, "score": judgement.score, "spans": _spans(judgement), "scorer": name})
        else:
            failures.append([row["origin"], judgement])
    characters = sum(len(row["text"]) for row in shard.rows)
    seconds = round(time.monotonic() - began, 3)
    done = Done(shard.number, shard.digest, len(shard.rows), characters, seconds, failures)
    return done, _spelled(rows, form)


@lru_cache(maxsize=1)
def _scorer(name: str, device: str) -> Scorer:
    """Loaded once a process."""
    return get(name, device=device)


def _spans(judgement: Judgement) -> list[Row]:
    return [{"start": span.start, "end": span.end, "score": span.score} for span in judgement.spans]


def _spelled(rows: Sequence[Row], form: str) -> bytes:
    """In the worker: the process that gathers the shards would be the slowest of all."""
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema(pa)), content)
    return content.getvalue()


def _schema(pa: Any) -> Any:
    """The same for every shard, whatever its rows hold."""
    span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())])
    columns = [("text", pa.string()), ("origin", pa.string()), ("id", pa.string()), ("score", pa.float64())]
    return pa.schema([*columns, ("spans", pa.list_(span)), ("scorer", pa.string())])
