"""Answers that people gave elsewhere, stored as theirs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from heedful.labelling.accounts import username_of
from heedful.labelling.database import now
from heedful.labelling.new_items import Given, NewItem, response_keys
from heedful.labelling.projects import Project
from heedful.labelling.questions import check
from heedful.labelling.slots import slot_rows
from heedful.labelling.storing import settle_item, store_answer
from heedful.labelling.tables import membership, skip, slot, user


def take_answers(
    connection: Connection, found: Project, row: Mapping[str, Any], one: NewItem, refused: list[tuple[str, str]]
) -> int:
    """Store answers that were given elsewhere, each in a slot of its own; those that are none are refused."""
    keys, number = response_keys(len(one.responses)), 0
    newest = {username_of(given.username): given for given in one.answers}  # tools let people answer a task twice
    twice = len(one.answers) - len(newest)
    if twice:
        where = one.origin or row["external_id"]
        refused.append((where, f"{twice} earlier answers of people who gave another later"))
    for username, given in newest.items():
        user_id = stranger(connection, found, username)
        if given.value is None:
            about = {
                "item_id": row["id"],
                "user_id": user_id,
                "reason": given.reason[:32] or "other",
                "comment": given.comment,
            }
            connection.execute(insert(skip).values(at=given.at or now(), **about))
            continue
        verdict = check(found.questions, keys, given.value)
        if verdict.problems:
            name, sentence = next(iter(verdict.problems.items()))
            refused.append((one.origin or row["external_id"], f"the answer of {username}: {name}: {sentence}"))
            continue
        _store_given(connection, found, row, user_id, number, given, keys, verdict.warnings)
        number += 1
    if number:
        settle_item(connection, found, row["id"])
    return number


def _store_given(
    connection: Connection,
    found: Project,
    row: Mapping[str, Any],
    user_id: int,
    number: int,
    given: Given,
    keys: Sequence[str],
    warnings: Sequence[str],
) -> None:
    here = (slot.c.item_id == row["id"]) & (slot.c.slot_no == number)
    place = connection.execute(select(slot.c.id).where(here)).scalar()
    if place is None:
        [values] = slot_rows(found, row, [number])
        key = connection.execute(insert(slot).values(**values)).inserted_primary_key
        assert key is not None
        place = key[0]
    done = {"state": "done", "user_id": user_id, "order": list(keys)}
    connection.execute(update(slot).where(slot.c.id == place).values(**done))
    assert given.value is not None
    about = {"project_id": found.id, "item_id": row["id"], "user_id": user_id}
    when = {"wall_ms": given.wall_ms, "submitted_at": given.at or now(), "suspect": list(warnings)}
    shown = {"project_version": found.version, "shown_order": [], "client_key": secrets.token_hex(16)}
    store_answer(connection, about, given.value, slot_id=place, revision=0, is_current=True, **shown, **when)
    if row["kind"] == "normal":
        mine = (membership.c.project_id == found.id) & (membership.c.user_id == user_id)
        connection.execute(update(membership).where(mine).values(num_done=membership.c.num_done + 1))


def stranger(connection: Connection, found: Project, username: str) -> int:
    """The id of somebody who answered elsewhere: an account that cannot log in until it gets a password."""
    user_id = connection.execute(select(user.c.id).where(user.c.username == username)).scalar()
    if user_id is None:
        values = {"username": username, "display_name": username, "role": "annotator", "created_at": now()}
        key = connection.execute(insert(user).values(**values)).inserted_primary_key
        assert key is not None
        user_id = key[0]
    here = (membership.c.project_id == found.id) & (membership.c.user_id == user_id)
    if connection.execute(select(membership.c.user_id).where(here)).first() is None:
        connection.execute(insert(membership).values(project_id=found.id, user_id=user_id, role="annotator"))
    return user_id
