"""What happened to an item: every revision of every answer, who passed it over, reported and decided it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from heedful.labelling.items import Stored, responses_of
from heedful.labelling.projects import Project
from heedful.labelling.tables import adjudication, annotation, flag, gold, item, skip, suggestion, user

PAGE = 50


@dataclass(frozen=True)
class History:
    """about: the item's own columns.  answers: all revisions, each person's together; the others in order of time."""

    about: dict[str, Any]
    responses: list[Stored]
    answers: Sequence[Any]
    skips: Sequence[Any]
    flags: Sequence[Any]
    decisions: Sequence[Any]
    suggestions: Sequence[Any]
    gold: Any | None


def history(connection: Connection, found: Project, public_id: str) -> History | None:
    """Of an item of the project; None if it has no such item."""
    here = (item.c.public_id == public_id) & (item.c.project_id == found.id)
    row = connection.execute(select(item).where(here)).mappings().first()
    if row is None:
        return None

    def said(table: Any, *order: Any) -> Sequence[Any]:
        asked = select(user.c.username, table).join(user, user.c.id == table.c.user_id)
        return connection.execute(asked.where(table.c.item_id == row["id"]).order_by(*order)).mappings().all()

    model = select(suggestion).where(suggestion.c.item_id == row["id"]).order_by(suggestion.c.agent)
    known = connection.execute(select(gold).where(gold.c.item_id == row["id"])).mappings().first()
    return History(
        dict(row),
        responses_of(connection, [row["id"]])[row["id"]],
        said(annotation, annotation.c.slot_id, annotation.c.revision),
        said(skip, skip.c.at),
        said(flag, flag.c.at),
        said(adjudication, adjudication.c.id),
        connection.execute(model).mappings().all(),
        known,
    )


def list_items(connection: Connection, found: Project, state: str, text: str, page: int) -> tuple[list[Any], int]:
    """A page of items in the order of the data, each with its number of answers; and how many there are in all.

    state: of the items, or empty for all.  text: what their names begin with.  page: from 0.
    """
    here = [item.c.project_id == found.id]
    here += [item.c.state == state] if state else []
    here += [item.c.external_id.startswith(text, autoescape=True)] if text else []
    answers = select(func.count()).where(annotation.c.item_id == item.c.id, annotation.c.is_current).scalar_subquery()
    names = ("public_id", "external_id", "kind", "state", "prompt")
    asked = select(*[item.c[name] for name in names], answers.label("answers")).where(*here)
    rows = connection.execute(asked.order_by(item.c.position, item.c.id).limit(PAGE).offset(PAGE * page)).mappings()
    total = connection.execute(select(func.count()).select_from(item).where(*here)).scalar_one()
    return list(rows.all()), total
