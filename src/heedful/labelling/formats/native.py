"""Our own JSON Lines of a whole project: versions, items, every revision of every answer.  Reads back what it wrote.

One object a line, its `kind` first: `project`, `version`, `user`, `item`, `answer`, `skip`, `flag`, `adjudication`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from heedful.labelling.accounts import USERNAME
from heedful.labelling.database import new_id, now
from heedful.labelling.events import Actor, record
from heedful.labelling.items import BATCH, responses_of
from heedful.labelling.new_items import digest
from heedful.labelling.projects import SLUG, Project, get_project, questions_of, settings_of
from heedful.labelling.slots import count_slots
from heedful.labelling.tables import (
    adjudication,
    annotation,
    annotation_value,
    flag,
    gold,
    item,
    membership,
    project,
    project_version,
    response,
    skip,
    slot,
    suggestion,
    user,
)
from heedful.labelling.values import flat_rows
from heedful.types import UserError

Row = dict[str, Any]
FORMAT = "heedful-labels-1"


def rows(connection: Connection, found: Project) -> Iterator[Row]:
    """Everything of a project, in an order that depends on nothing else."""
    yield {"kind": "project", "format": FORMAT, "slug": found.slug, "name": found.name, "state": found.state}
    for row in connection.execute(
        select(project_version).where(project_version.c.project_id == found.id).order_by(project_version.c.version)
    ).mappings():
        fields = ("version", "questions", "guidelines", "settings", "created_at")
        yield {"kind": "version", **{name: row[name] for name in fields}}
    names = _names(connection, found)
    for row in connection.execute(
        select(membership).where(membership.c.project_id == found.id).order_by(membership.c.user_id)
    ).mappings():
        fields = ("role", "paused", "quota")
        yield {"kind": "user", "username": names[row["user_id"]], **{name: row[name] for name in fields}}
    items = connection.execute(select(item).where(item.c.project_id == found.id).order_by(item.c.id)).mappings().all()
    external = {row["id"]: row["external_id"] for row in items}
    for start in range(0, len(items), BATCH):
        yield from _items(connection, items[start : start + BATCH], external)
    yield from _answers(connection, found, external, names)


def _names(connection: Connection, found: Project) -> dict[int, str]:
    """Of everybody who has to do with a project."""
    return {row.id: row.username for row in connection.execute(select(user.c.id, user.c.username))}


def _items(connection: Connection, block: Sequence[Any], external: dict[int, str]) -> Iterator[Row]:
    ids = [row["id"] for row in block]
    responses = responses_of(connection, ids)
    golden = {row.item_id: row for row in connection.execute(select(gold).where(gold.c.item_id.in_(ids)))}
    suggested: dict[int, list[Row]] = {}
    for row in connection.execute(
        select(suggestion).where(suggestion.c.item_id.in_(ids)).order_by(suggestion.c.item_id, suggestion.c.agent)
    ).mappings():
        fields = ("agent", "value", "score", "at")
        suggested.setdefault(row["item_id"], []).append({name: row[name] for name in fields})
    for row in block:
        fields = ("external_id", "prompt", "context", "meta", "priority", "overlap", "state", "created_at")
        made: Row = {"kind": "item", "item_kind": row["kind"], **{name: row[name] for name in fields}}
        made["responses"] = [
            {"key": r.key, "content": r.content, "source": r.source, "meta": r.meta} for r in responses[row["id"]]
        ]
        if row["repeat_of"] is not None:
            made["repeat_of"] = external[row["repeat_of"]]
        if row["id"] in golden:
            made["gold"] = {"expected": golden[row["id"]].expected, "explanation": golden[row["id"]].explanation}
        if row["id"] in suggested:
            made["suggestions"] = suggested[row["id"]]
        yield made


def _answers(connection: Connection, found: Project, external: dict[int, str], names: dict[int, str]) -> Iterator[Row]:
    fields = ("revision", "is_current", "value", "project_version", "shown_order", "client_key", "active_ms")
    fields += ("wall_ms", "submitted_at", "suspect")
    for row in connection.execute(
        select(annotation, slot.c.slot_no)
        .join(slot, slot.c.id == annotation.c.slot_id)
        .where(annotation.c.project_id == found.id)
        .order_by(annotation.c.id)
    ).mappings():
        about = {"item": external[row["item_id"]], "username": names[row["user_id"]], "slot_no": row["slot_no"]}
        yield {"kind": "answer", **about, **{name: row[name] for name in fields}}
    for kind, table, fields in (
        ("skip", skip, ("reason", "comment", "at")),
        ("flag", flag, ("kind", "comment", "at", "resolved_at")),
        ("adjudication", adjudication, ("value", "category", "note", "at")),
    ):
        asked = select(table).join(item, item.c.id == table.c.item_id).where(item.c.project_id == found.id)
        if kind == "adjudication":
            asked = asked.where(adjudication.c.superseded_by.is_(None))
        for row in connection.execute(asked.order_by(table.c.item_id, table.c.user_id, table.c.at)).mappings():
            about = {"item": external[row["item_id"]], "username": names[row["user_id"]]}
            named = {("flag_kind" if name == "kind" else name): row[name] for name in fields}
            yield {"kind": kind, **about, **named}


def restore(connection: Connection, lines: Iterable[Row], actor: Actor, *, slug: str | None = None) -> Project:
    """A project from what `rows` gave, under its own name or another.  Its users get accounts that cannot log in.

    Raises UserError for rows that are no project, for a name that is taken, and for parts that do not fit together.
    """
    stream = iter(lines)
    head = next(stream, {})
    if head.get("kind") != "project" or head.get("format") != FORMAT:
        raise UserError(f"this is no whole project as heed label export --format native writes it ({FORMAT}).")
    name = slug or head["slug"]
    if not SLUG.fullmatch(str(name)):
        raise UserError(f"{name!r} is no project's name: small letters, digits and dashes, 64 at most.")
    if connection.execute(select(project.c.id).where(project.c.slug == name)).first():
        raise UserError(f"there is a project {name} already; give another name.")
    restorer = _Restorer(connection, head, name)
    for number, row in enumerate(stream, start=2):
        try:
            restorer.add(row)
        except (KeyError, TypeError, AttributeError) as problem:
            raise UserError(f"line {number} is no {row.get('kind', 'row')} of a project: {problem!r}") from None
    restorer.finish()
    record(connection, actor, "project.restore", "project", name)
    return get_project(connection, name)


class _Restorer:
    """Rows, one after the other."""

    def __init__(self, connection: Connection, head: Row, slug: str) -> None:
        self.connection = connection
        self.users: dict[str, int] = {}
        self.items: dict[str, tuple[int, int]] = {}  # name → id and position
        self.slots: dict[tuple[int, int], int] = {}
        self.done: dict[int, int] = {}
        self.version, self.overlap = 0, 1
        values = {"slug": slug, "name": head["name"], "state": head["state"], "current_version": 0, "num_slots": 0}
        self.project_id = self._insert(project, values | {"created_at": now()})

    def _insert(self, table: Any, values: Row) -> int:
        key = self.connection.execute(insert(table).values(**values)).inserted_primary_key
        assert key is not None
        return key[0]

    def _user(self, username: str) -> int:
        if username not in self.users:
            if not USERNAME.fullmatch(username):
                raise UserError(f"{username!r} is no user name.")
            row = self.connection.execute(select(user.c.id).where(user.c.username == username)).first()
            values = {"username": username, "display_name": username, "role": "annotator", "created_at": now()}
            self.users[username] = row.id if row else self._insert(user, values)
        return self.users[username]

    def add(self, row: Row) -> None:
        """One row of whatever kind."""
        kinds = {"version": self._version, "user": self._member, "item": self._item, "answer": self._answer}
        kinds |= {"skip": self._note, "flag": self._note, "adjudication": self._note}
        kinds[row["kind"]](row)

    def _version(self, row: Row) -> None:
        questions, settings = questions_of(row["questions"]), settings_of(row["settings"])
        self.version, self.overlap = int(row["version"]), settings.overlap
        values = {"project_id": self.project_id, "version": self.version, "guidelines": row["guidelines"]}
        values |= {"questions": questions.model_dump(mode="json", exclude_none=True), "created_at": row["created_at"]}
        self.connection.execute(insert(project_version).values(settings=settings.model_dump(mode="json"), **values))

    def _member(self, row: Row) -> None:
        values = {name: row[name] for name in ("role", "paused", "quota")}
        member = {"project_id": self.project_id, "user_id": self._user(row["username"]), **values}
        self.connection.execute(insert(membership).values(**member))

    def _item(self, row: Row) -> None:
        position = len(self.items) + 1
        fields = ("external_id", "prompt", "context", "meta", "priority", "overlap", "state", "created_at")
        values = {name: row[name] for name in fields} | {"project_id": self.project_id, "kind": row["item_kind"]}
        content = [row["prompt"], [one["content"] for one in row["responses"]]]
        values |= {"group_key": digest(row["prompt"]), "content_hash": digest(content), "position": position}
        values["repeat_of"] = self.items[row["repeat_of"]][0] if "repeat_of" in row else None
        item_id = self._insert(item, values | {"public_id": new_id()})
        self.items[row["external_id"]] = (item_id, position)
        self.connection.execute(insert(response), [{**one, "item_id": item_id} for one in row["responses"]])
        if "gold" in row:
            self.connection.execute(insert(gold).values(item_id=item_id, **row["gold"]))
        for one in row.get("suggestions", []):
            self.connection.execute(insert(suggestion).values(item_id=item_id, **one))
        if row["item_kind"] == "normal":
            for number in range(row["overlap"] or self.overlap):
                self._slot(item_id, number, position, "void" if row["state"] == "void" else "open")

    def _slot(self, item_id: int, number: int, position: int, state: str) -> int:
        values = {"public_id": new_id(), "project_id": self.project_id, "item_id": item_id}
        made = self._insert(slot, {**values, "slot_no": number, "place": position, "state": state})
        self.slots[item_id, number] = made
        return made

    def _answer(self, row: Row) -> None:
        item_id, position = self.items[row["item"]]
        user_id = self._user(row["username"])
        slot_id = self.slots.get((item_id, row["slot_no"]))
        slot_id = self._slot(item_id, row["slot_no"], position, "open") if slot_id is None else slot_id
        fields = ("revision", "is_current", "value", "project_version", "shown_order", "active_ms", "wall_ms")
        values = {name: row[name] for name in (*fields, "submitted_at", "suspect")}
        taken = select(annotation.c.id).where(annotation.c.client_key == row["client_key"])
        again = self.connection.execute(taken).first() is not None
        values |= {"client_key": secrets.token_hex(16) if again else row["client_key"]}
        about = {"project_id": self.project_id, "item_id": item_id, "user_id": user_id}
        values |= {"public_id": new_id(), "slot_id": slot_id}
        key = self._insert(annotation, {**about, **values})
        if row["is_current"]:
            flat = flat_rows(row["value"])
            if flat:
                self.connection.execute(
                    insert(annotation_value), [{**about, "annotation_id": key, **one} for one in flat]
                )
            done = {"state": "done", "user_id": user_id, "order": row["shown_order"]}
            self.connection.execute(update(slot).where(slot.c.id == slot_id).values(**done))
            kind = self.connection.execute(select(item.c.kind).where(item.c.id == item_id)).scalar_one()
            self.done[user_id] = self.done.get(user_id, 0) + (kind == "normal")

    def _note(self, row: Row) -> None:
        table = {"skip": skip, "flag": flag, "adjudication": adjudication}[row["kind"]]
        about = {"item_id": self.items[row["item"]][0], "user_id": self._user(row["username"])}
        left = {name: value for name, value in row.items() if name not in ("kind", "item", "username", "flag_kind")}
        if "flag_kind" in row:
            left["kind"] = row["flag_kind"]
        self.connection.execute(insert(table).values(**about, **left))

    def finish(self) -> None:
        """Counts and the newest version."""
        if not self.version:
            raise UserError("the project has no version: the file is cut off.")
        here = update(project).where(project.c.id == self.project_id)
        self.connection.execute(here.values(current_version=self.version))
        for user_id, number in self.done.items():
            mine = (membership.c.project_id == self.project_id) & (membership.c.user_id == user_id)
            self.connection.execute(update(membership).where(mine).values(num_done=number))
        count_slots(self.connection, self.project_id)
