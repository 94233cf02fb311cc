"""One shard of documents: scored in whatever process it is given to, which also spells the file it becomes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from heedful.config.score import Rows
from heedful.config.watch import Split
from heedful.scorers import Scorer, get
from heedful.scorers.documents import Judgement, judge_documents
from heedful.types import Span
from heedful.workflows.fan_out import worker_number

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


@dataclass(frozen=True)
class Form:
    """How a shard's file is written.  file: `jsonl` or `parquet`.  rows: texts with spans, or pieces as published."""

    file: str = "jsonl"
    rows: Rows = "spans"


def annotate(shard: Shard, name: str, split: Split, form: Form, devices: Sequence[str]) -> tuple[Done, bytes]:
    """Score a shard: what became of it, and its file.  devices: where a model may run; each process takes one."""
    began = time.monotonic()
    return finish(shard, judge(shard.rows, name, split, devices), name, form, began)


def judge(rows: Sequence[Row], name: str, split: Split, devices: Sequence[str]) -> list[Judgement | str]:
    """What the scorer says of each document, or why it could not say it."""
    return judge_documents(_scorer(name, own_device(devices)), [row["text"] for row in rows], split)


def load_scorer(name: str, devices: Sequence[str]) -> bool:
    """Load the scorer, as every process does that judges with it."""
    _scorer(name, own_device(devices))
    return True


def own_device(devices: Sequence[str]) -> str:
    """This process's of the devices: the workers take them in turn, so that they spread evenly."""
    return devices[worker_number() % len(devices)]


def finish(shard: Shard, judged: Sequence[Judgement | str], name: str, form: Form, began: float) -> tuple[Done, bytes]:
    """What became of a shard whose documents were judged since `began`, and its file."""
    rows, failures = [], []
    for row, judgement in zip(shard.rows, judged, strict=True):
        if isinstance(judgement, Judgement):
            rows.append({**_ROWS[form.rows](row, judgement), "scorer": name})
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


def _with_spans(row: Row, judgement: Judgement) -> Row:
    spans = [{"start": span.start, "end": span.end, "score": span.score} for span in judgement.spans]
    return {**row, "score": judgement.score, "spans": spans}


def _in_pieces(row: Row, judgement: Judgement) -> Row:
    """As Korbak et al. 2023 publish theirs.  A document that was judged as a whole is one piece."""
    text = row["text"]
    spans = judgement.spans or [Span(0, len(text), judgement.score)]
    rest = {name: value for name, value in row.items() if name != "text"}
    texts = [text[span.start : span.end] for span in spans]
    return {"texts": texts, "scores": [span.score for span in spans], "avg_score": judgement.score, **rest}


_ROWS: dict[Rows, Callable[[Row, Judgement], Row]] = {"spans": _with_spans, "pieces": _in_pieces}


def _spelled(rows: Sequence[Row], form: Form) -> bytes:
    """In the worker: the process that gathers the shards would be the slowest of all."""
    if form.file == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema(pa, form.rows)), content)
    return content.getvalue()


def _schema(pa: Any, rows: Rows) -> Any:
    """The same for every shard, whatever its rows hold."""
    text, real = pa.string(), pa.float64()
    if rows == "pieces":
        columns = [("texts", pa.list_(text)), ("scores", pa.list_(real)), ("avg_score", real)]
        return pa.schema([*columns, ("origin", text), ("id", text), ("scorer", text)])
    span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", real)])
    columns = [("text", text), ("origin", text), ("id", text), ("score", real)]
    return pa.schema([*columns, ("spans", pa.list_(span)), ("scorer", text)])
