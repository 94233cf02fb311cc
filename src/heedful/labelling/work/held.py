"""What one can do with an item that one holds, beside answering it: keep a draft, stay at it, skip it, report it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from heedful.labelling.accounts import Account, is_same
from heedful.labelling.database import Database, now
from heedful.labelling.events import record
from heedful.labelling.projects import get_project
from heedful.labelling.questions import Value
from heedful.labelling.tables import (
    draft,
    flag,
    item,
    membership,
    project,
    skip,
    slot,
)
from heedful.labelling.work.refused import FLAG_KINDS, SKIP_REASONS, Refused

_task = bindparam("task")
PROJECT = select(slot.c.project_id).where(slot.c.public_id == _task)
HOLDER = select(membership.c.user_id).where(
    membership.c.project_id == bindparam("project"), membership.c.user_id == bindparam("person")
)
HOLDER = HOLDER.with_for_update()
HELD = (
    select(slot, project.c.slug)
    .join(project, project.c.id == slot.c.project_id)
    .where(slot.c.public_id == _task)
    .with_for_update(of=slot)
)


def _held(connection: Connection, account: Account, public_id: str, token: str) -> Any:
    """The slot, if this person has it by this lease.  Raises Refused (404, 409)."""
    project_id = connection.execute(PROJECT, {"task": public_id}).scalar()
    connection.execute(HOLDER, {"project": project_id, "person": account.id}).first()  # as in a claim, first
    row = connection.execute(HELD, {"task": public_id}).first()
    if row is None:
        raise Refused(404, "there is no such task")
    if row.user_id != account.id or not token or not is_same(row.lease_token or "", token):
        raise Refused(409, "this task went to somebody else; your answer was not taken")
    return row


def working(connection: Connection, account: Account, public_id: str, token: str) -> Any:
    row = _held(connection, account, public_id, token)
    if row.state != "leased":
        raise Refused(409, "this task is answered already" if row.state == "done" else "this task was taken back")
    return row


def heartbeat(db: Database, account: Account, public_id: str, token: str) -> float:
    """Somebody is still at it: the lease begins anew.  Returns until when.  Raises Refused if it is lost."""
    with db.write() as connection:
        row = working(connection, account, public_id, token)
        until = now() + get_project(connection, row.slug).settings.lease_s
        connection.execute(update(slot).where(slot.c.id == row.id).values(lease_until=until))
        return until


def save_draft(db: Database, account: Account, public_id: str, token: str, value: Value) -> None:
    """Keep an unfinished answer; it stays for this person even if the lease runs out.  Raises Refused."""
    with db.write() as connection:
        row = working(connection, account, public_id, token)
        here = (draft.c.item_id == row.item_id) & (draft.c.user_id == account.id)
        values = {"value": value, "updated_at": now()}
        if not connection.execute(update(draft).where(here).values(**values)).rowcount:
            connection.execute(insert(draft).values(item_id=row.item_id, user_id=account.id, **values))
        until = now() + get_project(connection, row.slug).settings.lease_s
        connection.execute(update(slot).where(slot.c.id == row.id).values(lease_until=until))


def skip_task(db: Database, account: Account, public_id: str, token: str, reason: str, comment: str = "") -> None:
    """Not this one: it goes to somebody else, and never comes back to this person.  Raises Refused."""
    if reason not in SKIP_REASONS:
        raise Refused(422, f"reason must be one of {', '.join(SKIP_REASONS)}")
    with db.write() as connection:
        row = working(connection, account, public_id, token)
        values = {"item_id": row.item_id, "user_id": account.id, "reason": reason, "comment": comment[:4000]}
        connection.execute(insert(skip).values(at=now(), **values))
        kind = connection.execute(select(item.c.kind).where(item.c.id == row.item_id)).scalar_one()
        free = {"user_id": None, "lease_token": None, "lease_until": None, "order": None, "served_at": None}
        state = "open" if kind == "normal" else "void"
        connection.execute(update(slot).where(slot.c.id == row.id).values(state=state, **free))
        record(connection, account.actor, "item.skip", "slot", public_id, {"reason": reason})


def flag_task(db: Database, account: Account, public_id: str, token: str, kind: str, comment: str = "") -> None:
    """Tell the manager that something is wrong with an item; it can still be answered.  Raises Refused."""
    if kind not in FLAG_KINDS:
        raise Refused(422, f"kind must be one of {', '.join(FLAG_KINDS)}")
    with db.write() as connection:
        row = _held(connection, account, public_id, token)
        values = {"item_id": row.item_id, "user_id": account.id, "kind": kind, "comment": comment[:4000]}
        connection.execute(insert(flag).values(at=now(), **values))
        record(connection, account.actor, "item.flag", "slot", public_id, {"kind": kind})
