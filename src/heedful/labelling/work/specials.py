"""Items whose answer is known, and items that somebody answered before: served among the others, looking like them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, exists, func, insert, select

from heedful.labelling.accounts import Account
from heedful.labelling.database import new_id, now
from heedful.labelling.projects import Project
from heedful.labelling.slots import slot_rows
from heedful.labelling.tables import (
    annotation,
    item,
    response,
    skip,
    slot,
)


def special(connection: Connection, found: Project, account: Account, me: Any) -> dict[str, Any] | None:
    """Gold or a repetition, where it is its turn: drawn by the seed, the person and the number of items served."""
    settings = found.settings
    if not settings.gold_rate and not settings.repeat_rate:
        return None
    draw = random.Random(f"{settings.seed} {found.id} {account.id} {me.num_served}")
    number = draw.random()
    if number < settings.gold_rate:
        return _unseen_gold(connection, found, account, draw)
    if number < settings.gold_rate + settings.repeat_rate:
        return _repetition(connection, found, account, draw)
    return None


def _unseen_gold(
    connection: Connection, found: Project, account: Account, draw: random.Random
) -> dict[str, Any] | None:
    seen = select(slot.c.item_id).where(slot.c.user_id == account.id)
    rows = connection.execute(
        select(item.c.id, item.c.position, item.c.external_id, item.c.priority)
        .where(
            item.c.project_id == found.id,
            item.c.kind.in_(("gold", "training")),
            item.c.state != "void",
            item.c.id.not_in(seen),
            ~exists().where(skip.c.item_id == item.c.id, skip.c.user_id == account.id),
        )
        .order_by(item.c.position)
    ).mappings()
    left = rows.all()
    return _slot_of_ones_own(connection, found, {**draw.choice(left)}) if left else None


def _repetition(connection: Connection, found: Project, account: Account, draw: random.Random) -> dict[str, Any] | None:
    """An item that this person answered long enough ago, as an item of its own that repeats it."""
    mine = (annotation.c.user_id == account.id) & (annotation.c.project_id == found.id)
    suffix, again = f"#again-{account.id}", item.alias("again")
    asked = exists().where(again.c.repeat_of == item.c.id, again.c.external_id == item.c.external_id + suffix)
    rows = connection.execute(
        select(item)
        .join(annotation, annotation.c.item_id == item.c.id)
        .where(mine, annotation.c.is_current, item.c.kind == "normal", item.c.state != "void", ~asked)
        .order_by(annotation.c.submitted_at.desc())
        .offset(found.settings.repeat_after)
        .limit(200)
    ).mappings()
    left = rows.all()
    if not left:
        return None
    original = dict(draw.choice(left))
    values = {name: value for name, value in original.items() if name != "id"}
    values |= {"public_id": new_id(), "kind": "repeat", "repeat_of": original["id"], "state": "open"}
    values |= {"external_id": original["external_id"] + suffix, "created_at": now()}
    key = connection.execute(insert(item).values(**values)).inserted_primary_key
    assert key is not None
    copied = connection.execute(select(response).where(response.c.item_id == original["id"]).order_by(response.c.id))
    names = ("key", "content", "source", "meta")
    answers = [{**{name: row[name] for name in names}, "item_id": key[0]} for row in copied.mappings()]
    connection.execute(insert(response), answers)
    return _slot_of_ones_own(connection, found, {**values, "id": key[0]})


def _slot_of_ones_own(connection: Connection, found: Project, row: Mapping[str, Any]) -> dict[str, Any]:
    last = connection.execute(select(func.max(slot.c.slot_no)).where(slot.c.item_id == row["id"])).scalar()
    [values] = slot_rows(found, row, [0 if last is None else last + 1])
    key = connection.execute(insert(slot).values(**values)).inserted_primary_key
    assert key is not None
    return {**values, "id": key[0], "place": 0, "order": None}
