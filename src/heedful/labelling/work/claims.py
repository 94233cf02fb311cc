"""The next item for somebody, held by a lease.

Slots exist as rows, one an answer that is wanted, so that there are never more answers than that; a slot belongs to one
person at a time by a lease, whose token every later act must show.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from heedful.labelling.accounts import Account
from heedful.labelling.database import Database, now
from heedful.labelling.items import responses_of
from heedful.labelling.projects import Project, answers_of, get_project, member_of
from heedful.labelling.questions import Value
from heedful.labelling.slots import release
from heedful.labelling.tables import (
    draft,
    item,
    membership,
    project,
    skip,
    slot,
    suggestion,
)
from heedful.labelling.work.refused import Refused
from heedful.labelling.work.specials import special

TRIES = 5
"""Of a claim whose slot somebody else took in the same moment (PostgreSQL)."""

# What every claim asks is built once: making a statement takes longer than running it.
_project, _person, _item = bindparam("project"), bindparam("person"), bindparam("item")
_membership = (membership.c.project_id == _project) & (membership.c.user_id == _person)
_other = slot.alias("other")
MEMBERSHIP = select(membership).where(_membership).with_for_update()
MOVE_ON = update(membership).where(_membership)
OWN = (
    select(slot)
    .where(slot.c.user_id == _person, slot.c.project_id == _project, slot.c.state == "leased")
    .with_for_update()
)
EXPIRED = (
    select(slot.c.id)
    .where(
        slot.c.project_id == _project,
        slot.c.state == "leased",
        slot.c.lease_until < bindparam("moment"),
        slot.c.user_id != _person,
    )
    .with_for_update(skip_locked=True)
)
NEXT = (
    select(slot.c.id, slot.c.place, slot.c.item_id, slot.c.public_id, slot.c.order)
    .where(
        slot.c.project_id == _project,
        slot.c.state == "open",
        slot.c.place >= bindparam("cursor"),
        ~exists().where(_other.c.item_id == slot.c.item_id, _other.c.user_id == _person),
        ~exists().where(skip.c.item_id == slot.c.item_id, skip.c.user_id == _person),
    )
    .order_by(slot.c.place, slot.c.id)
    .limit(1)
    .with_for_update(skip_locked=True, of=slot)
)
LEASE = update(slot).where(slot.c.id == bindparam("which"))
TEXTS = select(item.c.prompt, item.c.context).where(item.c.id == _item)
DRAFT = select(draft.c.value).where(draft.c.item_id == _item, draft.c.user_id == _person)


@dataclass(frozen=True)
class Progress:
    """mine: answers that I gave; done, wanted: of the whole project; quota: answers I may give, or None."""

    mine: int
    done: int
    wanted: int
    quota: int | None = None


@dataclass(frozen=True)
class Shown:
    """A response as a labeller gets it: never where it is from, while the project is blind."""

    key: str
    messages: list[dict[str, str]]
    source: str | None = None


@dataclass(frozen=True)
class Task:
    """What a labeller is to judge.  responses: in the order in which they are shown to this person."""

    slot: str
    lease_token: str
    lease_until: float
    version: int
    prompt: list[dict[str, str]]
    context: dict[str, str]
    responses: list[Shown]
    draft: Value | None
    suggestions: list[dict[str, Any]] = field(default_factory=list)


def claim(db: Database, account: Account, slug: str) -> Task | None:
    """The next item for somebody; None if there is none for them now.  Their unfinished one comes first.

    Raises Refused for a project that is not open, for strangers and for those who are paused.
    """
    for _ in range(TRIES):
        try:
            with db.write() as connection:
                return _claim(connection, account, slug)
        except IntegrityError:  # another tab of the same person took a slot of the same item
            continue
    raise Refused(503, "too many others ask at once; try again")


def _claim(connection: Connection, account: Account, slug: str) -> Task | None:
    found = get_project(connection, slug)
    member = member_of(connection, account, found.id)
    if member.role is None:
        raise Refused(403, "you are no member of this project")
    if found.state != "open":
        raise Refused(409, f"the project is {found.state}; there is no work now")
    if member.paused:
        raise Refused(409, "you are paused in this project; ask its manager")
    moment = now()
    me = _locked_membership(connection, found.id, account.id)
    _release_expired(connection, found.id, account.id, moment)
    who = {"project": found.id, "person": account.id}
    own = connection.execute(OWN, who).first()
    if own is not None:
        return _lease(connection, found, account, own.id, moment, dict(own._mapping))
    limits = [limit for limit in (member.quota, found.settings.max_per_user) if limit is not None]
    if limits and answers_of(connection, found.id, account.id) >= min(limits):
        return None
    chosen = special(connection, found, account, me) or _next(connection, found, account, me.cursor)
    if chosen is None and me.cursor:
        chosen = _next(connection, found, account, 0)
    if chosen is None:
        return None
    place = chosen["place"] if chosen["place"] > 0 else me.cursor
    connection.execute(MOVE_ON, {**who, "num_served": me.num_served + 1, "cursor": place})
    return _lease(connection, found, account, chosen["id"], moment, chosen)


def _locked_membership(connection: Connection, project_id: int, user_id: int) -> Any:
    """The row that counts somebody's work; admins who are no members get one at their first item.

    It is locked before any slot is: what one person does in several tabs is done one after the other.
    """
    who = {"project": project_id, "person": user_id}
    row = connection.execute(MEMBERSHIP, who).first()
    if row is None:
        connection.execute(insert(membership).values(project_id=project_id, user_id=user_id, role="manager"))
        row = connection.execute(MEMBERSHIP, who).one()
    return row


def _release_expired(connection: Connection, project_id: int, user_id: int, moment: float) -> None:
    """Leases that ran out are open again; one's own is kept until somebody else takes it."""
    who = {"project": project_id, "person": user_id, "moment": moment}
    ids = connection.execute(EXPIRED, who).scalars().all()
    if ids:
        release(connection, ids)


def _next(connection: Connection, found: Project, account: Account, cursor: int) -> dict[str, Any] | None:
    """The first open slot of an item that this person neither has, had nor skipped."""
    row = connection.execute(NEXT, {"project": found.id, "person": account.id, "cursor": cursor}).first()
    return None if row is None else dict(row._mapping)


def _lease(
    connection: Connection, found: Project, account: Account, slot_id: int, moment: float, before: Mapping[str, Any]
) -> Task:
    """Give the slot to this person, or more time for it."""
    token = before.get("lease_token") or secrets.token_urlsafe(18)
    until = moment + found.settings.lease_s
    responses = responses_of(connection, [before["item_id"]])[before["item_id"]]
    order = before["order"] or _shuffled([one.key for one in responses], found, account, before["item_id"])
    values: dict[str, Any] = {"state": "leased", "user_id": account.id, "lease_token": token, "lease_until": until}
    values |= {"order": order, "served_at": before.get("served_at") or moment}
    connection.execute(LEASE, {**values, "which": slot_id})
    return _task(connection, found, account, {**before, **values}, responses)


def _shuffled(keys: Sequence[str], found: Project, account: Account, item_id: int) -> list[str]:
    """The responses' order for a person and item, the same whenever it is shown again."""
    order = list(keys)
    if found.settings.shuffle:
        random.Random(f"{found.settings.seed} {found.id} {item_id} {account.id}").shuffle(order)
    return order


def _task(
    connection: Connection, found: Project, account: Account, row: Mapping[str, Any], responses: Sequence[Any]
) -> Task:
    which = {"item": row["item_id"], "person": account.id}
    one = connection.execute(TEXTS, which).one()
    by_key = {answer.key: answer for answer in responses}
    shown = [
        Shown(key, by_key[key].content, None if found.settings.blind else by_key[key].source) for key in row["order"]
    ]
    kept = connection.execute(DRAFT, which).scalar()
    suggestions = []
    if found.settings.show_suggestions:
        asked = select(suggestion).where(suggestion.c.item_id == row["item_id"]).order_by(suggestion.c.agent)
        suggestions = [{"agent": s.agent, "value": s.value, "score": s.score} for s in connection.execute(asked)]
    return Task(
        row["public_id"],
        row["lease_token"],
        row["lease_until"],
        found.version,
        one.prompt,
        one.context or {},
        shown,
        kept,
        suggestions,
    )


def progress(connection: Connection, account: Account, slug: str) -> Progress:
    """How far a person and the project are."""
    found = get_project(connection, slug)
    member = member_of(connection, account, found.id)
    limits = [limit for limit in (member.quota, found.settings.max_per_user) if limit is not None]
    counts = select(func.coalesce(func.sum(membership.c.num_done), 0)).where(membership.c.project_id == found.id)
    wanted = select(project.c.num_slots).where(project.c.id == found.id)
    return Progress(
        answers_of(connection, found.id, account.id),
        int(connection.execute(counts).scalar_one()),
        connection.execute(wanted).scalar_one(),
        min(limits, default=None),
    )
