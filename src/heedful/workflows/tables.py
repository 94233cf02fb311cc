"""Tables of results: on the terminal, in Markdown, as CSV, and numbers as JSON can hold them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heedful.examples.io import replacing

BESIDE_THE_FIRST = 2
"""Rows with intervals that fit beside the first on a terminal of 80 columns."""


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """The table turned on its side, a column for each row: a terminal is narrow and the measures are many.

    More rows than fit side by side follow in further tables, each with the first row again to compare with.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for start in range(1, max(len(rows), 2), BESIDE_THE_FIRST):
        shown = [*rows[:1], *rows[start : start + BESIDE_THE_FIRST]]
        table = Table(title=title if start == 1 else None, title_justify="left")
        table.add_column(headers[0])
        for row in shown:
            table.add_column(row[0], justify="right")
        for k, header in enumerate(headers[1:], start=1):
            table.add_row(Text(header), *(Text(row[k]) for row in shown))
        console.print(table)
    for line in notes:
        console.print(line, markup=False)


def print_short(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[str]) -> None:
    """A line a row, of which the first column and those in `shown` are printed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    places = [0, *(i for i, header in enumerate(headers) if header in shown)]
    for i in places:
        table.add_column(Text(headers[i]), justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in places))
    Console(highlight=False).print(table)


def to_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A table in Markdown with notes under it."""
    lines = ["| " + " | ".join(r) + " |" for r in (header, ["---"] + ["---:"] * (len(header) - 1), *rows)]
    return "\n".join([*lines, "", *(f"- {n}" for n in notes)]) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One line a row under the keys of all rows, in the order of their first appearance; what a row lacks is empty."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, keys, restval="")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; numbers that are not finite as null."""
    with replacing(path) as aside:
        text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
        aside.write_text(f"{text}\n", encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def finite(value: Any) -> Any:
    """The value with numbers that are not finite as null, which JSON has instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
