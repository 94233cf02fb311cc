"""Slots, one an answer that is wanted: how many an item has, and in which order they are given out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, not_, select, update

from heedful.labelling.database import random_ids
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.projects import Project, get_project
from heedful.labelling.settings import MOST_PRIORITY, ProjectSettings
from heedful.labelling.storing import settle_item
from heedful.labelling.tables import (
    item,
    membership,
    project,
    slot,
)
from heedful.types import UserError

PLACES = 1 << 40


def wanted(found: Project, row: Mapping[str, Any]) -> int:
    """How many answers an item is to get."""
    return row["overlap"] or found.settings.overlap


def slot_rows(found: Project, row: Mapping[str, Any], numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Open slots of an item.  Their names tell nothing: one made just now would be gold or a repetition."""
    return [
        {
            "public_id": public_id,
            "project_id": found.id,
            "item_id": row["id"],
            "slot_no": number,
            "place": place_of(found.settings, row, number),
            "state": "open",
        }
        for number, public_id in zip(numbers, random_ids(len(numbers)), strict=True)
    ]


def place_of(settings: ProjectSettings, row: Mapping[str, Any], slot_no: int) -> int:
    """Where a slot stands in the order in which work is given out; above 0, below 2⁶²."""
    position = row["position"]
    if settings.assign == "fewest_first":
        return slot_no * PLACES + position
    if settings.assign == "random":
        key = f"{settings.seed} {row['external_id']}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=5).digest(), "big") + 1
    if settings.assign == "priority":
        priority = min(max(row["priority"] or 0.0, -MOST_PRIORITY), MOST_PRIORITY)
        return int(1000 * (MOST_PRIORITY - priority)) * PLACES + position
    return position


def release(connection: Connection, slot_ids: Sequence[int]) -> None:
    """Slots that somebody held are open again; not gold and repetitions, which were made for one person."""
    here = slot.c.id.in_(slot_ids)
    normal = exists(select(item.c.id).where(item.c.id == slot.c.item_id, item.c.kind == "normal"))
    free = {"state": "open", "user_id": None, "lease_token": None, "lease_until": None, "order": None}
    connection.execute(update(slot).where(here, normal).values(**free))
    connection.execute(update(slot).where(here, not_(normal)).values(state="void"))


def resize(connection: Connection, found: Project, row: Mapping[str, Any]) -> None:
    """Give an item the slots that its overlap asks for; those with answers or with somebody at work stay."""
    slots = connection.execute(select(slot).where(slot.c.item_id == row["id"]).order_by(slot.c.slot_no)).all()
    target = wanted(found, row)
    for extra in slots[target:]:
        if extra.state == "open":
            connection.execute(update(slot).where(slot.c.id == extra.id).values(state="void"))
    for again in [one for one in slots[:target] if one.state == "void"]:
        connection.execute(update(slot).where(slot.c.id == again.id).values(state="open"))
    missing = range(len(slots), target)
    if missing:
        connection.execute(insert(slot), slot_rows(found, row, missing))
    if any(one.state == "done" for one in slots):
        settle_item(connection, found, row["id"])
    for one in slots:
        place = place_of(found.settings, row, one.slot_no)
        if place != one.place:
            connection.execute(update(slot).where(slot.c.id == one.id).values(place=place))


def replan(connection: Connection, found: Project, before: ProjectSettings) -> None:
    """Fit the slots to changed settings."""
    after = found.settings
    if (after.assign, after.seed) != (before.assign, before.seed):
        _reorder(connection, found)
    if after.overlap != before.overlap:
        rows = connection.execute(
            select(item).where(item.c.project_id == found.id, item.c.kind == "normal", item.c.state != "void")
        ).mappings()
        for row in rows.all():
            resize(connection, found, {**row})
    count_slots(connection, found.id)
    rewind(connection, found.id)


def _reorder(connection: Connection, found: Project) -> None:
    """New places for the slots that are still open."""
    rows = connection.execute(
        select(item.c.position, item.c.external_id, item.c.priority, slot.c.id, slot.c.slot_no)
        .join(slot, slot.c.item_id == item.c.id)
        .where(slot.c.project_id == found.id, slot.c.state.in_(("open", "leased")))
    ).mappings()
    places = [{"slot_id": row["id"], "new": place_of(found.settings, {**row}, row["slot_no"])} for row in rows]
    if places:
        statement = update(slot).where(slot.c.id == bindparam("slot_id")).values(place=bindparam("new"))
        connection.execute(statement, places)


def change_item(
    connection: Connection, found: Project, item_id: int, changes: Mapping[str, Any], actor: Actor = CLI
) -> None:
    """Change an item's priority and overlap, and fit its slots to them.

    Raises UserError for an item that was taken out, and for gold and repetitions, which are given out by their rates.
    """
    row = {**connection.execute(select(item).where(item.c.id == item_id)).mappings().one(), **changes}
    if row["state"] == "void":
        raise UserError(f"{row['external_id']} was taken out.")
    if row["kind"] != "normal":
        raise UserError(f"{row['external_id']} is {row['kind']}, which is given out by its rate; it has no place.")
    if not changes:
        return
    connection.execute(update(item).where(item.c.id == item_id).values(**changes))
    resize(connection, found, row)
    count_slots(connection, found.id)
    rewind(connection, found.id)
    record(connection, actor, "item.change", "item", row["public_id"], changes)


def set_priorities(connection: Connection, slug: str, priorities: Mapping[int, float], actor: Actor = CLI) -> None:
    """Give items (by their id) a priority, larger sooner; it acts where the project assigns by priority."""
    found = get_project(connection, slug)
    values = [{"item": key, "new": value} for key, value in priorities.items()]
    if values:
        connection.execute(
            update(item)
            .where(item.c.id == bindparam("item"), item.c.project_id == found.id)
            .values(priority=bindparam("new")),
            values,
        )
        _reorder(connection, found)
        rewind(connection, found.id)
    record(connection, actor, "items.priority", "project", slug, {"items": len(values)})


def void_item(connection: Connection, item_id: int, actor: Actor) -> None:
    """Take an item out: it is given to nobody, and counted and exported nowhere; its answers stay in the database."""
    row = connection.execute(select(item.c.project_id, item.c.public_id).where(item.c.id == item_id)).one()
    connection.execute(update(item).where(item.c.id == item_id).values(state="void"))
    connection.execute(
        update(slot).where(slot.c.item_id == item_id, slot.c.state != "done").values(state="void", lease_token=None)
    )
    count_slots(connection, row.project_id)
    record(connection, actor, "item.void", "item", row.public_id)


def count_slots(connection: Connection, project_id: int) -> None:
    """Bring the number of answers that a project wants up to date."""
    alive = (
        select(func.count())
        .select_from(slot.join(item, item.c.id == slot.c.item_id))
        .where(slot.c.project_id == project_id, slot.c.state != "void", item.c.kind == "normal", item.c.state != "void")
    )
    connection.execute(update(project).where(project.c.id == project_id).values(num_slots=alive.scalar_subquery()))


def rewind(connection: Connection, project_id: int) -> None:
    """Everybody looks for work from the start again."""
    connection.execute(update(membership).where(membership.c.project_id == project_id).values(cursor=0))
