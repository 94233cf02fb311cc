"""Our own schema on disk: JSON lines (`.jsonl`, `.jsonl.gz`) and Parquet, lossless both ways.

Fields that have their default are left out of JSON lines.  In Parquet every field has a column, and `extra`, which
may hold anything, is a JSON text.  Values of `extra` must be what JSON holds; dates are written as ISO text.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import gzip
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from heedful.examples.conversation import RowError, SkipRow
from heedful.examples.readers.own import example_of
from heedful.examples.rows import OriginRow, Row, rows_of
from heedful.types import Example, Message, Response, Span, UserError


def row_of(example: Example) -> Row:
    """An Example as a plain row; fields that have their default are left out."""
    labels = ("better", "safer", "strength", "margin", "id", "source", "origin", "extra")
    return {
        "prompt": [_message(message) for message in example.prompt],
        "responses": [_response(response) for response in example.responses],
        **_present(example, labels),
    }


def _message(message: Message) -> Row:
    row: Row = {"role": message.role, "content": message.content}
    return row if message.trained else {**row, "trained": False}


def _response(response: Response) -> Row:
    plain = ("reward", "cost", "desirable", "safe", "harm_categories", "severity", "rank", "weight", "source", "extra")
    row: Row = {"messages": [_message(message) for message in response.messages], **_present(response, plain)}
    return {**row, "spans": [_span(span) for span in response.spans]} if response.spans else row


def _span(span: Span) -> Row:
    return {"start": span.start, "end": span.end, "score": span.score}


def _present(labelled: Example | Response, fields: tuple[str, ...]) -> Row:
    values = {field: getattr(labelled, field) for field in fields}
    return {field: value for field, value in values.items() if value is not None and value != [] and value != {}}


# JSON lines


def write_jsonl(examples: Iterable[Example], path: str | os.PathLike[str]) -> int:
    """Writes one Example a line, gzipped if the name ends in `.gz`; returns how many.

    The file appears whole or not at all.  Raises UserError for an `extra` value JSON cannot hold.
    """
    return write_rows((row_of(example) for example in examples), path)


def write_rows(rows: Iterable[Row], path: str | os.PathLike[str]) -> int:
    """Writes plain rows as JSON lines, whole or not at all; returns how many."""
    count = 0
    path = Path(path)
    with replacing(path) as aside, aside.open("wb") as raw:
        zipped = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if path.name.endswith(".gz") else None
        with zipped or contextlib.nullcontext(raw) as file:
            for row in rows:
                file.write(_json(row).encode() + b"\n")
                count += 1
    return count


def read_jsonl(path: str | os.PathLike[str]) -> list[Example]:
    """What `write_jsonl` wrote.  Raises UserError naming the file and line of a malformed row."""
    return list(_examples(rows_of(Path(path))))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UserError(f"`extra` holds {value!r:.60} ({type(value).__name__}), which JSON cannot hold; remove it first.")


def _examples(rows: Iterator[OriginRow]) -> Iterator[Example]:
    for origin, row in rows:
        try:
            yield example_of(row)
        except (RowError, SkipRow) as error:
            raise UserError(f"{origin}: {error}.") from None


# Parquet


def write_parquet(examples: Iterable[Example], path: str | os.PathLike[str]) -> int:
    """Writes every field as a typed column (`extra` as JSON text); returns how many rows.  Whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    rows = [_parquet_row(row_of(example)) for example in examples]
    with replacing(Path(path)) as aside:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_parquet_schema()), aside)
    return len(rows)


def read_parquet(path: str | os.PathLike[str]) -> list[Example]:
    """What `write_parquet` wrote.  Raises UserError naming the file and row of a malformed row."""
    return list(_examples(rows_of(Path(path))))


def _parquet_row(row: Row) -> Row:
    packed: dict[str, Any] = {key: _json(value) if key == "extra" else value for key, value in row.items()}
    if "responses" in packed:
        packed["responses"] = [_parquet_row(response) for response in packed["responses"]]
    for turns in ("prompt", "messages"):
        if turns in packed:
            packed[turns] = [{"trained": True, **turn} for turn in packed[turns]]
    return packed


def _parquet_schema() -> Any:
    import pyarrow as pa

    text, real, whole, truth = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    turns = pa.list_(pa.struct({"role": text, "content": text, "trained": truth}))
    spans = pa.list_(pa.struct({"start": whole, "end": whole, "score": real}))
    judged = {"reward": real, "cost": real, "desirable": truth, "safe": truth, "harm_categories": pa.list_(text)}
    placed = {"severity": whole, "rank": whole, "weight": real, "spans": spans, "source": text, "extra": text}
    responses = pa.list_(pa.struct({"messages": turns, **judged, **placed}))
    between = {"better": whole, "safer": whole, "strength": real, "margin": real}
    named = {"id": text, "source": text, "origin": text, "extra": text}
    return pa.schema({"prompt": turns, "responses": responses, **between, **named})


def unwritable(path: Path) -> Path | None:
    """What stands in the way of making `path`: a folder that cannot be written to, or a file; None if nothing does."""
    there = path.parent
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # permission bits do not say it all
            return None
    except OSError:
        return there


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise UserError if no file can be written at `path`: asked before long work, nothing is left behind."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file to write.")
    if (there := unwritable(path)) is not None:
        raise UserError(f"{path}: cannot be written, because of {there}; name another file.")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its name when the block ends, and is removed if the block fails."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
