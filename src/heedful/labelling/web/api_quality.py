"""The JSON interface to how a project is doing: counts, agreement, labellers, gold, and what is disputed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from heedful.labelling import adjudicating, agreement_tables, gold, quality
from heedful.labelling.tables import item
from heedful.labelling.web.bodies import Decision
from heedful.labelling.web.callers import DB, Manager, Reader, item_of, of_project
from heedful.labelling.work import Refused

router = APIRouter(prefix="/api/v1")


@router.get("/projects/{slug}/stats")
def stats(slug: str, db: DB, account: Reader) -> dict[str, Any]:
    """Counts."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        return quality.overview(connection, found)


@router.get("/projects/{slug}/agreement")
def agreement(slug: str, db: DB, account: Reader, question: str | None = None) -> dict[str, Any]:
    """How far labellers agree, of every question or of one."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        table = agreement_tables.agreement_in(connection, found)
    if question is None:
        return table
    if question not in table:
        raise Refused(404, f"nobody answered {question!r}")
    return {question: table[question]}


@router.get("/projects/{slug}/annotators")
def annotators(slug: str, db: DB, account: Reader) -> list[dict[str, Any]]:
    """Everybody's speed, position bias, gold accuracy and agreement with themselves."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        return quality.labellers(connection, found)


@router.get("/projects/{slug}/position-bias")
def position_bias(slug: str, db: DB, account: Reader) -> dict[str, Any]:
    """How often the response that stood first won, over all labellers and of each; z counts standard deviations."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        each = quality.position_bias(connection, found)
    return {"all": quality.position_of_all(each), "labellers": each}


@router.get("/projects/{slug}/gold")
def known(slug: str, db: DB, account: Reader) -> dict[str, Any]:
    """Every gold item with what is expected and how many answered so, and how many each labeller answered so."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        right = gold.answers(connection, found)
        return {"items": gold.by_item(connection, found, right), "labellers": gold.by_labeller(connection, right)}


@router.get("/projects/{slug}/adjudication")
def adjudication(slug: str, db: DB, account: Reader) -> list[dict[str, Any]]:
    """Disputed items with the answers they got."""
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        queue = adjudicating.queue(connection, found)
        ids = select(item.c.id, item.c.public_id).where(item.c.id.in_([one.id for one in queue]))
        public = {row.id: row.public_id for row in connection.execute(ids)}
    return [
        {
            "item": public[one.id],
            "prompt": one.prompt,
            "responses": [{"key": row.key, "messages": row.content} for row in one.responses],
            "answers": [{"value": value} for value in one.values],
        }
        for one in queue
    ]


@router.post("/projects/{slug}/items/{public_id}/adjudicate", status_code=204)
def adjudicate(slug: str, public_id: str, body: Decision, db: DB, account: Manager) -> None:
    """Decide a disputed item."""
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        item_of(connection, found, public_id)
    adjudicating.adjudicate(db, account.actor, public_id, body.value, body.category, body.note)
