"""Answers written into the tables: from the pages, from other tools, out of a file of a whole project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from heedful.labelling.database import new_id
from heedful.labelling.projects import Project
from heedful.labelling.questions import Value
from heedful.labelling.tables import annotation, annotation_value, item, slot
from heedful.labelling.values import disagree, flat_rows

# What every answer asks is built once: making a statement takes longer than running it.
LEFT = select(slot.c.id).where(slot.c.item_id == bindparam("item"), slot.c.state.in_(("open", "leased"))).limit(1)
SAID = select(annotation.c.value).where(annotation.c.item_id == bindparam("item"), annotation.c.is_current)
SETTLE = (
    update(item)
    .where(item.c.id == bindparam("item"), item.c.state.not_in(("final", "void", bindparam("to"))))
    .values(state=bindparam("to"))
)
STORE, STORE_VALUES = insert(annotation), insert(annotation_value)


def store_answer(connection: Connection, about: Mapping[str, int], value: Value, **columns: Any) -> str:
    """One revision of an answer, with its numbers if it is the current one.  Returns its public id.

    about: project_id, item_id, user_id.  columns: the others of `annotation`, without its ids.
    """
    public_id = new_id()
    row = {**about, "public_id": public_id, "value": value, **columns}
    key = connection.execute(STORE, row).inserted_primary_key
    assert key is not None
    flat = flat_rows(value) if columns["is_current"] else []
    if flat:
        connection.execute(STORE_VALUES, [{**about, "annotation_id": key[0], **one} for one in flat])
    return public_id


def settle_item(connection: Connection, found: Project, item_id: int) -> None:
    """An item with all its answers is complete, or disputed where they differ; one that lacks some is open."""
    state = "open"
    if connection.execute(LEFT, {"item": item_id}).first() is None:
        values = connection.execute(SAID, {"item": item_id}).scalars().all()
        state = "disputed" if disagree(found.questions, values) else "complete"
    connection.execute(SETTLE, {"item": item_id, "to": state})
