"""Answers: taken once, kept for ever, changed by a revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from heedful.labelling.accounts import Account
from heedful.labelling.database import Database, now
from heedful.labelling.events import record
from heedful.labelling.gold import pause_if_careless
from heedful.labelling.items import responses_of
from heedful.labelling.projects import Project, get_project
from heedful.labelling.questions import Value, check
from heedful.labelling.storing import settle_item, store_answer
from heedful.labelling.tables import (
    annotation,
    annotation_value,
    draft,
    gold,
    item,
    membership,
    project,
    project_version,
    response,
    slot,
)
from heedful.labelling.values import matches
from heedful.labelling.work.held import working
from heedful.labelling.work.refused import Refused

# What every answer asks is built once, as in claims.
EARLIER = (
    select(annotation.c.public_id, annotation.c.user_id, slot.c.public_id.label("task"))
    .join(slot, slot.c.id == annotation.c.slot_id)
    .where(annotation.c.client_key == bindparam("key"))
)
KEYS = select(response.c.key).where(response.c.item_id == bindparam("item")).order_by(response.c.id)
KIND = select(item.c.kind).where(item.c.id == bindparam("item"))
DONE = update(slot).where(slot.c.id == bindparam("which")).values(state="done", lease_until=None)
NO_DRAFT = delete(draft).where(draft.c.item_id == bindparam("item"), draft.c.user_id == bindparam("person"))
COUNT = (
    update(membership)
    .where(membership.c.project_id == bindparam("project"), membership.c.user_id == bindparam("person"))
    .values(num_done=membership.c.num_done + 1)
)


@dataclass(frozen=True)
class Submitted:
    """annotation: its id.  duplicate: it was here already.  feedback: of a training item, what was expected and why."""

    annotation: str
    duplicate: bool = False
    warnings: list[str] = field(default_factory=list)
    feedback: dict[str, Any] | None = None


def submit(
    db: Database,
    account: Account,
    public_id: str,
    token: str,
    client_key: str,
    value: Value,
    *,
    version: int | None = None,
    active_ms: int | None = None,
    wall_ms: int | None = None,
) -> Submitted:
    """Take an answer.  When this returns it is on the disk.

    client_key: made by who sends; sent again, the answer that was taken is named again.  version: of the project, whose
    questions and guidelines were shown; the newest if it is not said.
    Raises Refused: 409 for a lease that is lost, 422 for an answer that does not answer.
    """
    if not client_key or len(client_key) > 64:
        raise Refused(422, "client_key must be 1 to 64 characters")
    try:
        with db.write() as connection:
            return _submit(connection, account, public_id, token, client_key, value, version, active_ms, wall_ms)
    except IntegrityError:  # the same answer, sent twice in one moment
        with db.read() as connection:
            earlier = _earlier(connection, account, client_key, public_id)
        if earlier is None:
            raise Refused(409, "this task is answered already") from None
        return earlier


def _earlier(connection: Connection, account: Account, client_key: str, task: str) -> Submitted | None:
    """What was answered before under this key, which is for one task only."""
    row = connection.execute(EARLIER, {"key": client_key}).first()
    if row is None:
        return None
    if row.user_id != account.id or row.task != task:
        raise Refused(409, "this client_key was used for another answer")
    return Submitted(row.public_id, duplicate=True)


def _submit(
    connection: Connection,
    account: Account,
    public_id: str,
    token: str,
    client_key: str,
    value: Value,
    version: int | None,
    active_ms: int | None,
    wall_ms: int | None,
) -> Submitted:
    earlier = _earlier(connection, account, client_key, public_id)
    if earlier is not None:
        return earlier
    row = working(connection, account, public_id, token)
    found = get_project(connection, row.slug)
    if found.state == "closed":
        raise Refused(409, "the project is closed; no answer is taken any more")
    shown = _as_shown(connection, found, version, since=row.served_at)
    value = {name: said for name, said in value.items() if said is not None}
    warnings = _checked(connection, shown, row.item_id, value)
    stored = _store(connection, shown, account, row, 0, client_key, value, warnings, active_ms, wall_ms)
    about = {"item": row.item_id, "person": account.id}
    connection.execute(DONE, {"which": row.id})
    connection.execute(NO_DRAFT, about)
    kind = connection.execute(KIND, about).scalar_one()
    if kind == "normal":
        connection.execute(COUNT, {"project": found.id, "person": account.id})
        settle_item(connection, found, row.item_id)
    record(connection, account.actor, "annotation.submit", "annotation", stored, {"slot": public_id})
    if kind == "gold":
        pause_if_careless(connection, found, account.id)
    feedback = _feedback(connection, found, row.item_id, value) if kind == "training" else None
    return Submitted(stored, warnings=warnings, feedback=feedback)


def _as_shown(connection: Connection, found: Project, version: int | None, *, since: float | None) -> Project:
    """The project as of the version that somebody saw: another one may have been made while they read.

    since: when they first had the task; a version that was replaced before cannot have been what they saw.
    """
    if version is None or version == found.version:
        return found
    here = (project_version.c.project_id == found.id) & (project_version.c.version == version + 1)
    replaced = connection.execute(select(project_version.c.created_at).where(here)).scalar()
    if version < 1 or replaced is None or replaced < (since or 0.0):
        raise Refused(422, f"version: {version} was not shown with this task; send the task's own, or none")
    return get_project(connection, found.slug, version)


def _checked(connection: Connection, found: Project, item_id: int, value: Value) -> list[str]:
    keys = connection.execute(KEYS, {"item": item_id}).scalars().all()
    verdict = check(found.questions, keys, value)
    if verdict.problems:
        name, sentence = next(iter(verdict.problems.items()))
        raise Refused(422, f"{name}: {sentence}", verdict.problems)
    return verdict.warnings


def _store(
    connection: Connection,
    found: Project,
    account: Account,
    row: Any,
    revision: int,
    client_key: str,
    value: Value,
    warnings: Sequence[str],
    active_ms: int | None,
    wall_ms: int | None,
) -> str:
    """A revision of an answer, the current one from now on."""
    too_fast = wall_ms is not None and wall_ms < found.settings.suspect_ms
    about = {"project_id": found.id, "item_id": row.item_id, "user_id": account.id}
    shown = {"project_version": found.version, "shown_order": row.order, "client_key": client_key}
    when = {"active_ms": active_ms, "wall_ms": wall_ms, "submitted_at": now()}
    suspect = [*(["too fast"] if too_fast else []), *warnings]
    here = {"slot_id": row.id, "revision": revision, "is_current": True, "suspect": suspect}
    return store_answer(connection, about, value, **here, **shown, **when)


def _feedback(connection: Connection, found: Project, item_id: int, value: Value) -> dict[str, Any] | None:
    row = connection.execute(select(gold).where(gold.c.item_id == item_id)).first()
    if row is None:
        return None
    right = matches(row.expected, value, found.settings.gold_tolerance)
    return {"right": right, "expected": row.expected, "explanation": row.explanation}


def mine(connection: Connection, account: Account, slug: str, limit: int = 20) -> list[dict[str, Any]]:
    """A person's last answers, newest first: annotation, value, when, the prompt, the responses as they were shown."""
    found = get_project(connection, slug)
    rows = connection.execute(
        select(annotation, item.c.prompt)
        .join(item, item.c.id == annotation.c.item_id)
        .where(annotation.c.user_id == account.id, annotation.c.project_id == found.id, annotation.c.is_current)
        .order_by(annotation.c.submitted_at.desc(), annotation.c.id.desc())
        .limit(limit)
    ).all()
    responses = responses_of(connection, [row.item_id for row in rows])
    listed = []
    for row in rows:
        by_key = {one.key: one for one in responses[row.item_id]}
        about = {"annotation": row.public_id, "value": row.value, "revision": row.revision, "at": row.submitted_at}
        shown = [{"key": key, "messages": by_key[key].content} for key in row.shown_order or by_key]
        listed.append({**about, "prompt": row.prompt, "responses": shown})
    return listed


def revise(
    db: Database, account: Account, public_id: str, value: Value, client_key: str, *, version: int | None = None
) -> Submitted:
    """Change one of one's last answers; the earlier one is kept.  version: as in `submit`.

    Raises Refused (403, 404, 409, 422).
    """
    if not client_key or len(client_key) > 64:
        raise Refused(422, "client_key must be 1 to 64 characters")
    with db.write() as connection:
        row = connection.execute(
            select(annotation, project.c.slug, slot.c.public_id.label("task"))
            .join(project, project.c.id == annotation.c.project_id)
            .join(slot, slot.c.id == annotation.c.slot_id)
            .where(annotation.c.public_id == public_id)
        ).first()
        if row is None or row.user_id != account.id:
            raise Refused(404, "you gave no such answer")
        earlier = _earlier(connection, account, client_key, row.task)
        if earlier is not None:
            return earlier
        found = get_project(connection, row.slug)
        if found.state != "open":
            raise Refused(409, f"the project is {found.state}; answers can no longer be changed")
        if not row.is_current:
            raise Refused(409, "this answer was changed already; change the newer one")
        later = select(func.count()).where(
            annotation.c.user_id == account.id,
            annotation.c.project_id == found.id,
            annotation.c.is_current,
            annotation.c.submitted_at >= row.submitted_at,
            or_(annotation.c.submitted_at > row.submitted_at, annotation.c.id > row.id),
        )
        if connection.execute(later).scalar_one() >= found.settings.undo_window:
            raise Refused(403, f"only your last {found.settings.undo_window} answers can be changed")
        shown = _as_shown(connection, found, version, since=row.submitted_at)
        value = {name: said for name, said in value.items() if said is not None}
        warnings = _checked(connection, shown, row.item_id, value)
        connection.execute(update(annotation).where(annotation.c.id == row.id).values(is_current=False))
        connection.execute(delete(annotation_value).where(annotation_value.c.annotation_id == row.id))
        held = connection.execute(select(slot).where(slot.c.id == row.slot_id)).one()
        stored = _store(
            connection, shown, account, held, row.revision + 1, client_key, value, warnings, row.active_ms, row.wall_ms
        )
        settle_item(connection, found, row.item_id)
        record(connection, account.actor, "annotation.revise", "annotation", stored, {"of": public_id})
        return Submitted(stored, warnings=warnings)
