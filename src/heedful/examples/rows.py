"""Files to rows: JSON lines, JSON, Parquet and CSV, compressed or not; any other text file is one row, a document.

A row is a dict of columns together with its origin (`file:line`, or `file: row n` where there are no lines).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from heedful.examples import spreadsheets
from heedful.types import UserError

Row = dict[str, Any]
OriginRow = tuple[str, Row]

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
TEXT_SUFFIXES = (
    *(".txt", ".text", ".md", ".rst", ".tex", ".html", ".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu"),
    *(".rs", ".go", ".java", ".kt", ".scala", ".js", ".ts", ".jsx", ".tsx", ".rb", ".php", ".swift", ".lua"),
    *(".jl", ".r", ".hs", ".ml", ".sh", ".sql", ".css"),
)
NOT_UTF8 = "a line that is not UTF-8 text"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
GZIP_MAGIC = b"\x1f\x8b"


def rows_of(path: Path, on_unreadable: Callable[[str, str], None] | None = None) -> Iterator[OriginRow]:
    """The rows of one file, in order; the format is taken from the name.

    on_unreadable: is told (origin, reason) of a line of JSON lines that is not UTF-8, and the rest is read; without it
    such a line is refused.
    Raises UserError naming the file, and the line where there is one, for anything that cannot be read.
    """
    kind = kind_of(path)
    try:
        refuse_pointer(path)
        if kind == ".parquet":
            yield from _parquet(path)
            return
        with _open(path) as file:
            if kind in (".jsonl", ".ndjson"):
                yield from _json_lines(path, file, on_unreadable)
            elif kind == ".json":
                yield from _json(path, file)
            elif kind in (".csv", ".tsv"):
                yield from _csv(path, file, delimiter="\t" if kind == ".tsv" else ",")
            else:
                yield str(path), {"text": file.read()}
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip file is damaged or cut short ({error}); fetch it again.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None


def kind_of(path: Path) -> str:
    """The suffix that says how to read `path` (`.jsonl` for `a.jsonl.gz`); `.txt` for everything that is no table."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in DATA_SUFFIXES if name.endswith(suffix)), ".txt")


def is_data(path: Path) -> bool:
    return kind_of(path) != ".txt"


def is_text(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(TEXT_SUFFIXES)


def refuse_pointer(path: Path) -> None:
    """Raises UserError if the file is a git-LFS pointer: a few lines that stand for content nobody fetched."""
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise UserError(
            f"{path} is only a git-LFS pointer, not the file itself; run `git lfs pull` in {path.parent} and try again."
        )


def _open(path: Path) -> IO[bytes]:
    file = path.open("rb")
    zipped = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return gzip.open(file) if zipped else file  # pyright: ignore[reportReturnType]


def _decode(path: Path, raw: bytes, line: int | None = None) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{path}:{line}" if line else f"{path}"
        raise UserError(f"{where}: not UTF-8 text (byte {error.start} is {raw[error.start]:#04x}).") from None


def _json_lines(
    path: Path, file: IO[bytes], on_unreadable: Callable[[str, str], None] | None = None
) -> Iterator[OriginRow]:
    for number, raw in enumerate(file, start=1):
        try:
            line = _decode(path, raw, number)
        except UserError:
            if on_unreadable is None:
                raise
            on_unreadable(f"{path}:{number}", NOT_UTF8)
            continue
        if not line.isspace():
            yield f"{path}:{number}", _object(f"{path}:{number}", _parse(f"{path}:{number}", line))


def _json(path: Path, file: IO[bytes]) -> Iterator[OriginRow]:
    """A list of objects, a single object, or JSON lines under the wrong name (the hub has many)."""
    try:
        value = json.loads(_decode(path, file.read()))
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg}, column {error.colno}).") from None
        file.seek(0)
        yield from _json_lines(path, file)
        return
    except RecursionError:
        raise UserError(f"{path}: JSON nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{path}: not valid JSON ({error}).") from None
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        yield f"{path}: row {number}", _object(f"{path}: row {number}", row)


def _parse(origin: str, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin}: not valid JSON ({error.msg}, column {error.colno}).") from None
    except RecursionError:
        raise UserError(f"{origin}: JSON nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{origin}: not valid JSON ({error}).") from None


def _object(origin: str, value: Any) -> Row:
    if not isinstance(value, dict):
        kind = {"list": "a list", "str": "a string", "NoneType": "null"}.get(type(value).__name__, repr(value))
        raise UserError(f"{origin}: a row must be a JSON object with columns, this is {kind}.")
    return value


def _csv(path: Path, file: IO[bytes], *, delimiter: str) -> Iterator[OriginRow]:
    csv.field_size_limit(2**31 - 1)
    text = _decode(path, file.read())
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    start = 2
    try:
        for row in reader:
            if None in row or None in row.values():
                fields = reader.fieldnames or []
                raise UserError(f"{path}:{start}: the row does not have the header's {len(fields)} fields.")
            yield f"{path}:{start}", spreadsheets.read(row)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV ({error}).") from None


def _parquet(path: Path) -> Iterator[OriginRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).") from None
