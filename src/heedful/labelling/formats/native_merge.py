"""A whole project's file into a project that is there: what is new comes in, nothing twice, and conflicts are named.

Items follow `on_conflict` as everywhere.  Of an item that both have with the same texts, answers, skips, reports and
decisions of the file are added.  Where somebody answered it otherwise here, their answer here stands, or with `update`
the newer of both; so does a decision.  Settings, members' roles, drafts and repetitions stay as they are here.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from heedful.labelling.accounts import USERNAME
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.formats.native import add_each
from heedful.labelling.given import stranger
from heedful.labelling.items import BATCH, Added, Conflict, add_items
from heedful.labelling.new_items import NewItem, NewResponse, digest, messages_of, response_keys
from heedful.labelling.projects import Project, get_project, questions_of
from heedful.labelling.questions import Questions, check
from heedful.labelling.slots import count_slots, rewind, slot_rows, void_item
from heedful.labelling.storing import settle_item, store_answer
from heedful.labelling.tables import (
    adjudication,
    annotation,
    annotation_value,
    draft,
    flag,
    item,
    membership,
    project_version,
    skip,
    slot,
)
from heedful.types import UserError

Row = dict[str, Any]
KINDS = {"answer": "answers", "skip": "skips", "flag": "reports", "adjudication": "decisions"}
"""Kinds of rows that are counted, and what they are called."""


@dataclass
class Merged:
    """What became of a file.  taken, there: by the names of KINDS, what came in and what was there already."""

    items: Added = field(default_factory=Added)
    taken: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def merge(
    connection: Connection, lines: Iterable[Row], slug: str, *, on_conflict: Conflict = "skip", actor: Actor = CLI
) -> Merged:
    """Put what `native.rows` gave into a project.  Raises UserError for rows that are no project, or were cut off."""
    merger = _Merger(connection, get_project(connection, slug), on_conflict, actor)
    add_each(lines, merger.add)
    merger.finish()
    done = merger.done
    counts = {"items": done.items.added, **done.taken}
    record(connection, actor, "project.merge", "project", slug, counts)
    return done


class _Merger:
    """Rows, one after the other."""

    def __init__(self, connection: Connection, found: Project, on_conflict: Conflict, actor: Actor) -> None:
        self.connection, self.found, self.actor = connection, found, actor
        self.on_conflict: Conflict = on_conflict
        self.done = Merged()
        self.waiting: list[Row] = []
        self.items: dict[str, Row | None] = {}  # None: what belongs to it stays out
        self.asked: dict[int, Questions] = {}  # of the file, by version
        self.guides: dict[int, str] = {}
        self.versions: dict[int, int] = {}  # of the file → here
        self.chains: dict[tuple[int, int], int] = {}  # item, user → slot of answers that began here
        self.decided: set[int] = set()  # items whose decisions began here
        self.users: dict[str, int] = {}

    def add(self, row: Row) -> None:
        """One row of whatever kind."""
        if row["kind"] == "version":
            self.asked[row["version"]] = questions_of(row["questions"])
            self.guides[row["version"]] = str(row["guidelines"])
        elif row["kind"] == "item":
            self.waiting.append(row)
            if len(self.waiting) == BATCH:
                self._take_items()
        elif row["kind"] in KINDS:
            self._take_items()
            about = self.items[row["item"]]
            if about is not None:
                take = {"answer": self._answer, "skip": self._skip, "flag": self._flag, "adjudication": self._decide}
                self._count(row, take[row["kind"]](row, about, self._user(row["username"])))
        elif row["kind"] not in ("project", "user", "draft", "end"):
            raise UserError("there is nothing like this in a project.")

    def _count(self, row: Row, outcome: bool | str) -> None:
        """outcome: whether it came in, or why it could not."""
        if isinstance(outcome, str):
            self._refuse(row["item"], outcome)
        else:
            (self.done.taken if outcome else self.done.there)[KINDS[row["kind"]]] += 1

    def _refuse(self, where: str, reason: str) -> None:
        if (where, reason) not in self.done.refused:
            self.done.refused.append((where, reason))

    def _user(self, username: str) -> int:
        if username not in self.users:
            if not USERNAME.fullmatch(username):
                raise UserError(f"{username!r} is no user name.")
            self.users[username] = stranger(self.connection, self.found, username)
        return self.users[username]

    def _take_items(self) -> None:
        rows, self.waiting = self.waiting, []
        if not rows:
            return
        self.items |= dict.fromkeys([row["external_id"] for row in rows])
        fresh = [row for row in rows if row["item_kind"] != "repeat"]
        before = self._there(fresh)
        added = add_items(
            self.connection, self.found.slug, map(_new_item, fresh), on_conflict=self.on_conflict, actor=self.actor
        )
        for name in ("added", "updated", "skipped"):
            setattr(self.done.items, name, getattr(self.done.items, name) + getattr(added, name))
        self.done.refused += added.refused
        there = self._there(fresh)
        for row in fresh:
            name, here = row["external_id"], there.get(row["external_id"])
            if here is None or (name in before and self.on_conflict == "error"):
                continue
            if here.content_hash != _digest(row):
                self._refuse(name, "it has other texts here; what people said of it in the file stays out")
                continue
            keys = response_keys(len(row["responses"]))
            self.items[name] = {**here._mapping, "keys": keys}
            if name not in before and row["state"] == "void":
                void_item(self.connection, here.id, self.actor)

    def _there(self, rows: list[Row]) -> dict[str, Any]:
        names = [row["external_id"] for row in rows]
        asked = select(item).where(item.c.project_id == self.found.id, item.c.external_id.in_(names))
        return {row.external_id: row for row in self.connection.execute(asked)}

    def _version(self, number: int) -> int | None:
        """The version here that asks the same by the same guidelines, or else asks the same; None if none does."""
        if number not in self.versions:
            here = select(project_version).where(project_version.c.project_id == self.found.id)
            rows = self.connection.execute(here.order_by(project_version.c.version.desc())).all()
            same = [row for row in rows if questions_of(row.questions) == self.asked[number]]
            exact = [row for row in same if row.guidelines == self.guides[number]]
            if not same:
                return None
            self.versions[number] = (exact or same)[0].version
            if not exact:
                self._refuse(
                    f"version {number}", f"its guidelines are not here; answers count to {self.versions[number]}"
                )
        return self.versions[number]

    def _answer(self, row: Row, about: Row, user_id: int) -> bool | str:
        mine = (annotation.c.item_id == about["id"]) & (annotation.c.user_id == user_id)
        given = self.connection.execute(select(annotation).where(mine).order_by(annotation.c.revision)).all()
        if any((one.submitted_at, one.value) == (row["submitted_at"], row["value"]) for one in given):
            return False
        version = self._version(row["project_version"])
        if version is None:
            return f"no version here asks what version {row['project_version']} of the file asked; its answers stay out"
        verdict = check(self.asked[row["project_version"]], about["keys"], row["value"])
        if verdict.problems:
            name, sentence = next(iter(verdict.problems.items()))
            return f"the answer of {row['username']}: {name}: {sentence}"
        chain = self.chains.get((about["id"], user_id))
        if chain is None and given:
            return self._other_answer(row, about, user_id, version, given)
        if chain is None:
            chain = self.chains[about["id"], user_id] = self._slot(about, user_id, row["shown_order"])
            if about["kind"] == "normal":
                here = (membership.c.project_id == self.found.id) & (membership.c.user_id == user_id)
                done = update(membership).where(here)
                self.connection.execute(done.values(num_done=membership.c.num_done + 1))
        self._store(row, about, user_id, version, chain, row["revision"], row["is_current"])
        return True

    def _other_answer(self, row: Row, about: Row, user_id: int, version: int, given: Sequence[Any]) -> bool | str:
        """Of somebody who answered here, too: a new revision if that is asked for and it is the newer one."""
        now = next(one for one in given if one.is_current)
        if row["submitted_at"] <= now.submitted_at and not row["is_current"]:
            return False  # an earlier thought of theirs
        if self.on_conflict != "update" or row["submitted_at"] <= now.submitted_at:
            return f"{row['username']} answered it otherwise here; that answer stands"
        self.connection.execute(update(annotation).where(annotation.c.id == now.id).values(is_current=False))
        self.connection.execute(delete(annotation_value).where(annotation_value.c.annotation_id == now.id))
        self._store(row, about, user_id, version, now.slot_id, given[-1].revision + 1, True)
        return True

    def _store(
        self, row: Row, about: Row, user_id: int, version: int, slot_id: int, revision: int, is_current: bool
    ) -> None:
        taken = select(annotation.c.id).where(annotation.c.client_key == row["client_key"])
        again = self.connection.execute(taken).first() is not None
        values = {name: row[name] for name in ("shown_order", "active_ms", "wall_ms", "submitted_at", "suspect")}
        values |= {"client_key": secrets.token_hex(16) if again else row["client_key"], "project_version": version}
        whose = {"project_id": self.found.id, "item_id": about["id"], "user_id": user_id}
        values |= {"slot_id": slot_id, "revision": revision, "is_current": is_current}
        store_answer(self.connection, whose, row["value"], **values)
        settle_item(self.connection, self.found, about["id"])

    def _slot(self, about: Row, user_id: int, order: list[str]) -> int:
        """The slot that somebody holds, or a free one of the item, or one more; theirs, and done."""
        here = select(slot).where(slot.c.item_id == about["id"]).order_by(slot.c.slot_no)
        slots = self.connection.execute(here).all()
        held = [one.id for one in slots if one.user_id == user_id]
        place = next(iter(held or [one.id for one in slots if one.state == "open"]), None)
        if place is None:
            [values] = slot_rows(self.found, about, [max((one.slot_no for one in slots), default=-1) + 1])
            key = self.connection.execute(insert(slot).values(**values)).inserted_primary_key
            assert key is not None
            place = key[0]
        done = {"state": "done", "user_id": user_id, "order": order, "lease_token": None, "lease_until": None}
        self.connection.execute(update(slot).where(slot.c.id == place).values(**done))
        theirs = (draft.c.item_id == about["id"]) & (draft.c.user_id == user_id)
        self.connection.execute(delete(draft).where(theirs))
        return place

    def _skip(self, row: Row, about: Row, user_id: int) -> bool:
        """Not of somebody who passed it over here, or answered it."""
        for table in (skip, annotation):
            theirs = (table.c.item_id == about["id"]) & (table.c.user_id == user_id)
            if self.connection.execute(select(table.c.item_id).where(theirs)).first():
                return False
        values = {name: row[name] for name in ("reason", "comment", "at")}
        self.connection.execute(insert(skip).values(item_id=about["id"], user_id=user_id, **values))
        return True

    def _flag(self, row: Row, about: Row, user_id: int) -> bool:
        values = {"item_id": about["id"], "user_id": user_id, "kind": row["flag_kind"]}
        values |= {name: row[name] for name in ("comment", "at")}
        if self.connection.execute(select(flag.c.id).filter_by(**values)).first():
            return False
        by = row.get("resolved_by")
        resolved = {"resolved_at": row["resolved_at"], "resolved_by": None if by is None else self._user(by)}
        self.connection.execute(insert(flag).values(**values, **resolved))
        return True

    def _decide(self, row: Row, about: Row, user_id: int) -> bool | str:
        mine = select(adjudication).where(adjudication.c.item_id == about["id"]).order_by(adjudication.c.id)
        made = self.connection.execute(mine).all()
        if any((one.at, one.value) == (row["at"], row["value"]) for one in made):
            return False
        standing = next((one for one in made if one.superseded_by is None), None)
        if standing is not None and about["id"] not in self.decided:
            if row["at"] <= standing.at and row.get("superseded_by") is not None:
                return False  # an earlier decision
            if self.on_conflict != "update" or row["at"] <= standing.at:
                return "it was decided otherwise here; that decision stands"
        values = {name: row[name] for name in ("value", "category", "note", "at")}
        added = insert(adjudication).values(item_id=about["id"], user_id=user_id, **values)
        key = self.connection.execute(added).inserted_primary_key
        assert key is not None
        if standing is not None:
            before = update(adjudication).where(adjudication.c.id == standing.id)
            self.connection.execute(before.values(superseded_by=key[0]))
        self.decided.add(about["id"])
        final = update(item).where(item.c.id == about["id"], item.c.state != "void").values(state="final")
        self.connection.execute(final)
        return True

    def finish(self) -> None:
        """Items that nothing follows, and the counts."""
        self._take_items()
        count_slots(self.connection, self.found.id)
        rewind(self.connection, self.found.id)


def _digest(row: Row) -> str:
    return digest([row["prompt"], [one["content"] for one in row["responses"]]])


def _new_item(row: Row) -> NewItem:
    suggestions = {one["agent"]: one["value"] for one in row.get("suggestions", [])}
    scores = {one["agent"]: one["score"] for one in row.get("suggestions", []) if one["score"] is not None}
    known = row.get("gold", {})
    return NewItem(
        messages_of(row["prompt"]),
        [NewResponse(messages_of(one["content"]), one["source"], one["meta"] or {}) for one in row["responses"]],
        row["external_id"],
        dict(row["context"] or {}),
        dict(row["meta"] or {}),
        row["priority"],
        row["overlap"],
        known.get("expected"),
        known.get("explanation", ""),
        suggestions,
        origin=row["external_id"],
        scores=scores,
    )
