"""Tables of pandas, in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from heedful.labelling.consensus import decide, gather
from heedful.labelling.importing import Columns, from_row, row_by
from heedful.labelling.new_items import NewItem
from heedful.labelling.projects import get_project
from heedful.labelling.values import flat_rows


def from_frame(frame: Any, columns: Columns) -> Iterator[NewItem]:
    """Items of a DataFrame.  Raises UserError for columns that it lacks, and rows that cannot be judged."""
    for number, row in enumerate(frame.to_dict("records")):
        yield from_row(f"row {number}", row_by(columns, row))


def to_pandas(connection: Connection, slug: str, aggregate: str = "majority") -> Any:
    """A DataFrame of single labels, a row for each: item, labeller, question, response, label, seconds, at, decided.

    label: a winner's number (-1 a tie, -2 both bad), a rank, a grade, or 0 and 1.  decided: what the item came to.
    Raises UserError for an unknown project, and ImportError without pandas.
    """
    import pandas

    found = get_project(connection, slug)
    items = gather(connection, found, times=True)
    decide(connection, found, items, aggregate)
    rows = []
    for one in items:
        decided = {(row["question"], row["response_key"]): row["num"] for row in flat_rows(one.value)}
        for answer in one.answers:
            seconds = None if answer.wall_ms is None else answer.wall_ms / 1000
            for row in flat_rows(answer.value):
                key = (row["question"], row["response_key"])
                about = {"item": one.external_id, "labeller": answer.labeller, "question": key[0], "response": key[1]}
                rows.append(
                    {**about, "label": row["num"], "seconds": seconds, "at": answer.at, "decided": decided.get(key)}
                )
    names = ["item", "labeller", "question", "response", "label", "seconds", "at", "decided"]
    return pandas.DataFrame(rows, columns=names)
