"""The audit trail: one row an act, each with the hash of the row before, so that no row can be changed or removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, cast, insert, select, update

from heedful.labelling.database import now
from heedful.labelling.tables import event, event_head

GENESIS = "0" * 64


@dataclass(frozen=True)
class Actor:
    """Who acts.  user_id: None for the command line and for nobody yet; via: session, token, cli or gold."""

    user_id: int | None
    via: str = "cli"


CLI = Actor(None)
HEAD = select(event_head.c.last, event_head.c.hash).with_for_update()
APPEND, MOVE_HEAD = insert(event), update(event_head)


def record(
    connection: Connection, actor: Actor, verb: str, object_type: str, object_id: object, data: Mapping[str, Any] = {}
) -> None:
    """Append an event.  To be called last in a transaction: the end of the chain stays locked until it ends."""
    last, before = connection.execute(HEAD).one()
    row = {
        "id": last + 1,
        "at": now(),
        "actor_user_id": actor.user_id,
        "via": actor.via,
        "verb": verb,
        "object_type": object_type,
        "object_id": str(object_id),
        "data": dict(data),
        "prev_hash": before,
    }
    row["hash"] = digest(row)
    connection.execute(APPEND, row)
    connection.execute(MOVE_HEAD, {"last": row["id"], "hash": row["hash"]})


def digest(row: Mapping[str, Any]) -> str:
    """SHA-256 of everything in an event, the hash of the one before included."""
    fields = ("id", "at", "actor_user_id", "via", "verb", "object_type", "object_id", "data", "prev_hash")
    spelled = json.dumps([row[name] for name in fields], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(spelled.encode()).hexdigest()


def verify(connection: Connection) -> tuple[int, str | None]:
    """How many events there are, and the first fault of the chain in words, or None."""
    before, number = GENESIS, 0
    columns = [cast(column, Text) if column.name == "data" else column for column in event.c]
    asked = select(*columns).order_by(event.c.id)
    for row in connection.execute(asked, execution_options={"yield_per": 1000}).mappings():
        number += 1
        if row["id"] != number:
            return number - 1, f"event {number} is missing"
        if row["prev_hash"] != before:
            return number, f"event {number} does not follow the one before it"
        try:
            found = digest({**row, "data": json.loads(row["data"])})
        except ValueError:
            found = ""
        if found != row["hash"]:
            return number, f"event {number} was changed after it was written"
        before = row["hash"]
    head = connection.execute(select(event_head.c.last, event_head.c.hash)).one()
    if tuple(head) != (number, before):
        return number, f"events after {number} are missing"
    return number, None
