"""CSV that a spreadsheet may open: no text in it becomes a formula, and what was written is what is read.

A spreadsheet takes a cell for a formula that begins with one of `OPENS`, spaces aside.  Such a text gets an apostrophe
in front, and so does one that begins so after apostrophes of its own, which makes the way back exact.  The column
`escape` says that this was done; `read` undoes it and takes the column out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

OPENS = "=+-@\t\r\n＝＋－＠"
"""Full-width signs open a formula where people write so."""
COLUMN, APOSTROPHE = "escape", "apostrophe"
FORMULA = re.compile(rf"'*\s*[{re.escape(OPENS)}]")
ESCAPED = re.compile(rf"'+\s*[{re.escape(OPENS)}]")


def lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The header, and a record for each row; the first row's columns are all there are.  None is an empty cell."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    names: list[str] = []
    for row in rows:
        if not names:
            names = list(row)
            writer.writerow([*map(_cell, names), COLUMN])
            yield _taken(file)
        writer.writerow([*(_cell(row[name]) for name in names), APOSTROPHE])
        yield _taken(file)


def _taken(file: io.StringIO) -> bytes:
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text.encode()


def _cell(value: Any) -> Any:
    """Numbers stay numbers, a negative one too: it is no formula."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def read(row: dict[str, Any]) -> dict[str, Any]:
    """A record of `lines` as it was; any other row as it is."""
    if row.get(COLUMN) != APOSTROPHE:
        return row
    return {
        name: text[1:] if isinstance(text, str) and ESCAPED.match(text) else text
        for name, text in row.items()
        if name != COLUMN
    }
