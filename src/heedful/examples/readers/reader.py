"""What a reader is, and typed access to the cells of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from heedful.examples.conversation import RowError, SkipRow, kind
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import Example, UserError

NO_TEXT = "a document that is not text"
"""Why a document is left out, in the words of every reader of documents."""


@dataclass(frozen=True)
class Asked:
    """What a run asks of a source, for the readers to which it matters.

    split: `train`, `eval` or a split's own name.  seed: of a reader's draws.
    """

    split: str = "train"
    seed: int = 0

    @property
    def is_train(self) -> bool:
        return self.split.startswith("train")


Gather = Callable[[Iterable[OriginRow], Asked], Iterator[Example | Dropped]]


@dataclass(frozen=True)
class Reader:
    """How to make Examples of rows.

    name: what a mixture calls it.
    summary: the columns it reads, in a line.
    declines: why it cannot read a row with these columns; None where it can (used for detection).
    convert: one row to one Example; raises RowError for a malformed row, SkipRow for one that holds no example.
    rows: for a user's reader, (split, path) to whatever it yields; None for readers of files and hub data sets.
    gather: all rows of a source to Examples and what it leaves out, for readers to which rows belong together, or of
        which a row holds several Examples; None where `convert` says it all.
    """

    name: str
    summary: str
    declines: Callable[[Row], str | None]
    convert: Callable[[Any], Example]
    rows: Callable[[str, str | None], Iterable[Any]] | None = None
    gather: Gather | None = None


def examples_of(reader: Reader, rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    """The Examples of a source's rows in the reader's way, and what it leaves out.  UserError for a malformed row."""
    return (reader.gather or one_by_one(reader.convert))(rows, asked)


def one_by_one(convert: Callable[[Any], Example]) -> Gather:
    """Every row by itself."""

    def gather(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
        for origin, row in rows:
            try:
                with at(origin):
                    example = convert(row)
            except SkipRow as reason:
                yield Dropped(origin, str(reason))
                continue
            if example.origin is None:
                example.origin = origin
            yield example

    return gather


@contextmanager
def at(origin: str) -> Iterator[None]:
    """A malformed row in the block ends in a UserError that begins with its file and line."""
    try:
        yield
    except RowError as error:
        raise UserError(f"{origin}: {error}.") from None


def in_files_only(reader: str) -> Callable[[Any], Example]:
    """The `convert` of a reader whose rows say something only together."""

    def convert(row: Any) -> Example:
        raise RowError(f"rows of {reader} belong together, and are read from files and hub data sets only")

    return convert


def lacks(row: Row, *columns: str) -> str | None:
    """The sentence of a reader that declines for want of columns; None if all are there."""
    missing = [f"{column!r}" for column in columns if column not in row]
    if not missing:
        return None
    return f"no column {missing[0]}" if len(missing) == 1 else f"no columns {', '.join(missing)}"


def cell(row: Row, column: str) -> Any:
    """The value of a column that must be there."""
    if column not in row:
        raise RowError(f"no column {column!r}; the row has {', '.join(row) or 'no columns'}")
    return row[column]


def text(row: Row, column: str) -> str:
    """A column that must hold a text (it may be empty: the data check counts empty answers)."""
    value = cell(row, column)
    if not isinstance(value, str):
        raise RowError(f"column {column!r} must be a text, not {kind(value)}")
    return value


def items(row: Row, column: str, what: str = "a list") -> list[Any]:
    """A column that must hold a list; `what` says of what, for the error."""
    value = cell(row, column)
    if not isinstance(value, list):
        raise RowError(f"column {column!r} must be {what}, not {kind(value)}")
    return value


def number(row: Row, column: str) -> float | None:
    """A number, or None where the column is missing, null, empty or NaN (how tables write "not judged")."""
    value = row.get(column)
    if value is None or value == "":
        return None
    try:
        result = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"column {column!r} must be a number, not {value!r:.40}") from None
    if isinstance(value, bool) or math.isinf(result):
        raise RowError(f"column {column!r} must be a finite number, not {value!r}")
    return None if math.isnan(result) else result


def integer(row: Row, column: str) -> int | None:
    """A whole number, or None where there is none."""
    value = number(row, column)
    if value is not None and value != int(value):
        raise RowError(f"column {column!r} must be a whole number, not {row[column]!r}")
    return None if value is None else int(value)


FLAGS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}


def flag(row: Row, column: str) -> bool | None:
    """A yes or no (true/false, 1/0, also as CSV writes them), or None where there is none."""
    value = row.get(column)
    if value is None or isinstance(value, bool):
        return value
    plain = str(value).strip().lower()
    if plain in ("", "nan"):
        return None
    if plain not in FLAGS:
        raise RowError(f"column {column!r} must be true or false, not {value!r}")
    return FLAGS[plain]


def name(row: Row, column: str) -> str | None:
    """A name or id as text, or None where there is none."""
    value = row.get(column)
    return None if value is None or value == "" else str(value)


def others(row: Row, used: Container[str]) -> dict[str, Any]:
    """The columns a reader did not use: they ride along in `extra`."""
    return {column: value for column, value in row.items() if column not in used}
