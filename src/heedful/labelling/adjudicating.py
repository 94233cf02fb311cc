"""What labellers disagree on, decided by somebody who may."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from heedful.labelling.consensus import Decided, gather
from heedful.labelling.database import Database, now
from heedful.labelling.events import Actor, record
from heedful.labelling.projects import Project, get_project
from heedful.labelling.questions import Value, check
from heedful.labelling.tables import adjudication, flag, item, project
from heedful.labelling.work import Refused

CATEGORIES = ("ambiguous", "guideline_gap", "annotator_error", "subjective", "other")


def queue(connection: Connection, found: Project, limit: int = 50) -> list[Decided]:
    """Disputed items with all answers, in the order of the data."""
    asked = select(item.c.id).where(item.c.project_id == found.id, item.c.state == "disputed")
    ids = connection.execute(asked.order_by(item.c.position).limit(limit)).scalars().all()
    return gather(connection, found, item_ids=ids) if ids else []


def queue_length(connection: Connection, found: Project) -> int:
    """How many items are disputed."""
    here = (item.c.project_id == found.id) & (item.c.state == "disputed")
    return connection.execute(select(func.count()).select_from(item).where(here)).scalar_one()


def adjudicate(db: Database, actor: Actor, public_id: str, value: Value, category: str, note: str = "") -> None:
    """Decide an item; the decision overrides all votes, and an earlier decision, which is kept.

    Raises Refused (404, 422).
    """
    if category not in CATEGORIES:
        raise Refused(422, f"category must be one of {', '.join(CATEGORIES)}")
    if actor.user_id is None:
        raise Refused(403, "a decision is somebody's")
    with db.write() as connection:
        row = connection.execute(
            select(item.c.id, project.c.slug)
            .join(project, project.c.id == item.c.project_id)
            .where(item.c.public_id == public_id)
        ).first()
        if row is None:
            raise Refused(404, "there is no such item")
        found = get_project(connection, row.slug)
        [one] = gather(connection, found, item_ids=[row.id], kinds=("normal", "gold", "training", "repeat")) or [None]
        if one is None:
            raise Refused(409, "this item was taken out")
        value = {name: said for name, said in value.items() if said is not None}
        verdict = check(found.questions, one.keys, value)
        missing = {name for name, text in verdict.problems.items() if text == "an answer is missing"}
        wrong = {name: text for name, text in verdict.problems.items() if name not in missing}
        if wrong or not value:
            raise Refused(422, next(iter(wrong.values()), "an answer is missing"), wrong)
        values: dict[str, Any] = {"item_id": row.id, "user_id": actor.user_id, "value": value}
        values |= {"category": category, "note": note[:4000], "at": now()}
        key = connection.execute(insert(adjudication).values(**values)).inserted_primary_key
        assert key is not None
        earlier = (adjudication.c.item_id == row.id) & (adjudication.c.id != key[0])
        standing = earlier & adjudication.c.superseded_by.is_(None)
        connection.execute(update(adjudication).where(standing).values(superseded_by=key[0]))
        connection.execute(update(item).where(item.c.id == row.id).values(state="final"))
        record(connection, actor, "item.adjudicate", "item", public_id, {"category": category})


def open_flags(connection: Connection, found: Project) -> list[Any]:
    """What labellers reported and nobody has looked at."""
    return list(
        connection.execute(
            select(
                flag.c.id, flag.c.kind, flag.c.comment, flag.c.at, item.c.public_id, item.c.external_id, item.c.prompt
            )
            .join(item, item.c.id == flag.c.item_id)
            .where(item.c.project_id == found.id, flag.c.resolved_at.is_(None))
            .order_by(flag.c.at)
        ).mappings()
    )


def resolve_flag(db: Database, actor: Actor, flag_id: int, project_id: int) -> bool:
    """Somebody has looked at it; whether there was such a flag."""
    with db.write() as connection:
        mine = select(item.c.id).where(item.c.project_id == project_id)
        done = connection.execute(
            update(flag)
            .where(flag.c.id == flag_id, flag.c.item_id.in_(mine), flag.c.resolved_at.is_(None))
            .values(resolved_by=actor.user_id, resolved_at=now())
        )
        if done.rowcount:
            record(connection, actor, "flag.resolve", "flag", flag_id)
        return bool(done.rowcount)
