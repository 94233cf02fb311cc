"""Our own JSON Lines of a whole project: versions, items, every revision of every answer.  Reads back what it wrote.

One object a line, its `kind` first: `project`, `version`, `user`, `item`, `answer`, `skip`, `draft`, `flag`,
`adjudication` (`superseded_by`: which of them, counted from 0, came after it), and `end`, which says how many rows
there were.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from heedful.labelling.accounts import USERNAME
from heedful.labelling.database import new_id, now, stream
from heedful.labelling.events import Actor, record
from heedful.labelling.items import BATCH, responses_of
from heedful.labelling.new_items import digest, response_keys
from heedful.labelling.projects import Project, check_slug, get_project, questions_of, settings_of
from heedful.labelling.questions import check
from heedful.labelling.slots import count_slots, slot_rows, wanted
from heedful.labelling.storing import store_answer
from heedful.labelling.tables import (
    adjudication,
    annotation,
    draft,
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
from heedful.types import UserError

Row = dict[str, Any]
FORMAT = "heedful-labels-1"


def rows(connection: Connection, found: Project) -> Iterator[Row]:
    """Everything of a project, in an order that depends on nothing else."""
    number = 0
    for row in _rows(connection, found):
        number += 1
        yield row
    yield {"kind": "end", "rows": number}


def _rows(connection: Connection, found: Project) -> Iterator[Row]:
    yield {"kind": "project", "format": FORMAT, "slug": found.slug, "name": found.name, "state": found.state}
    for row in connection.execute(
        select(project_version).where(project_version.c.project_id == found.id).order_by(project_version.c.version)
    ).mappings():
        fields = ("version", "questions", "guidelines", "settings", "created_at")
        yield {"kind": "version", **{name: row[name] for name in fields}}
    names: dict[int, str] = {row.id: row.username for row in connection.execute(select(user.c.id, user.c.username))}
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
    asked = (
        select(annotation.c.item_id, annotation.c.user_id, slot.c.slot_no, *[annotation.c[name] for name in fields])
        .join(slot, slot.c.id == annotation.c.slot_id)
        .where(annotation.c.project_id == found.id)
        .order_by(annotation.c.id)
    )
    for item_id, user_id, slot_no, *values in stream(connection, asked):
        about = {"item": external[item_id], "username": names[user_id], "slot_no": slot_no}
        yield {"kind": "answer", **about, **dict(zip(fields, values, strict=True))}
    for kind, table, fields in (
        ("skip", skip, ("reason", "comment", "at")),
        ("draft", draft, ("value", "updated_at")),
        ("flag", flag, ("kind", "comment", "at", "resolved_at", "resolved_by")),
        ("adjudication", adjudication, ("value", "category", "note", "at", "superseded_by")),
    ):
        asked = select(table).join(item, item.c.id == table.c.item_id).where(item.c.project_id == found.id)
        order = (table.c.item_id, *([table.c.id] if "id" in table.c else [table.c.user_id]))
        noted = connection.execute(asked.order_by(*order)).mappings().all()
        places = {row["id"]: place for place, row in enumerate(noted)} if kind == "adjudication" else {}
        for row in noted:
            about = {"item": external[row["item_id"]], "username": names[row["user_id"]]}
            named = {("flag_kind" if name == "kind" else name): row[name] for name in fields}
            for name, called in (("resolved_by", names), ("superseded_by", places)):
                if named.get(name) is not None:
                    named[name] = called[named[name]]
            yield {"kind": kind, **about, **named}


def restore(connection: Connection, lines: Iterable[Row], actor: Actor, *, slug: str | None = None) -> Project:
    """A project from what `rows` gave, under its own name or another.  Its users get accounts that cannot log in.

    Raises UserError for rows that are no project, for a name that is taken, and for parts that do not fit together.
    """
    stream = iter(lines)
    head = next(stream, {})
    check_head(head)
    name = slug or head["slug"]
    check_slug(str(name))
    if connection.execute(select(project.c.id).where(project.c.slug == name)).first():
        raise UserError(f"there is a project {name} already; give another name.")
    restorer = _Restorer(connection, name)
    add_each(chain([head], stream), restorer.add)
    restorer.finish()
    record(connection, actor, "project.restore", "project", name)
    return get_project(connection, name)


def check_head(head: Row) -> None:
    """Raises UserError for a first row that begins no project."""
    if head.get("kind") != "project" or head.get("format") != FORMAT:
        raise UserError(f"this is no whole project as heed label export --format native writes it ({FORMAT}).")


def add_each(lines: Iterable[Row], add: Callable[[Row], None]) -> None:
    """Give a project's rows to `add`.

    Raises UserError that names the line for a row that is none, and for a file of which a part is missing.
    """
    number, ended = 0, False
    for number, row in enumerate(lines, start=1):
        try:
            if number == 1:
                check_head(row)
            if ended:
                raise UserError("there is nothing like this in a project.")
            if row.get("kind") == "end" and row["rows"] != number - 1:
                raise UserError(f"the file says that it has {row['rows']} rows, and has {number - 1}: some are lost.")
            ended = row.get("kind") == "end"
            add(row)
        except UserError as problem:
            raise UserError(f"line {number}: {problem}") from None
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, SQLAlchemyError) as problem:
            why = str(getattr(problem, "orig", None) or repr(problem)).split("\n")[0]
            raise UserError(f"line {number} is no {row.get('kind', 'row')} of a project: {why}") from None
    if not ended:
        raise UserError("the last line of the file is missing: it was cut off.")


class _Restorer:
    """Rows, one after the other."""

    def __init__(self, connection: Connection, slug: str) -> None:
        self.connection = connection
        self.slug = slug
        self.project_id = 0
        self.users: dict[str, int] = {}
        self.items: dict[str, Row] = {}
        self.slots: dict[tuple[int, int], int] = {}
        self.projects: dict[int, Project] = {}  # by version
        self.done: Counter[int] = Counter()
        self.decisions: list[tuple[int, Any]] = []  # id, and the place among them of the one that superseded it

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

    @property
    def newest(self) -> Project:
        """The project as its last version says.  Raises UserError before there is one."""
        if not self.projects:
            raise UserError("no version of the project comes before this.")
        return self.projects[max(self.projects)]

    def add(self, row: Row) -> None:
        """One row of whatever kind."""
        kinds = {"project": self._project, "version": self._version, "user": self._member, "item": self._item}
        kinds |= {
            "answer": self._answer,
            "skip": self._note,
            "draft": self._note,
            "flag": self._note,
            "adjudication": self._note,
            "end": lambda row: None,
        }
        if row.get("kind") not in kinds:
            raise UserError("there is nothing like this in a project.")
        kinds[row["kind"]](row)

    def _project(self, row: Row) -> None:
        if self.project_id:
            raise UserError("a second project begins here.")
        values = {"slug": self.slug, "name": str(row["name"]), "state": row["state"], "created_at": now()}
        self.project_id = self._insert(project, values | {"current_version": 0, "num_slots": 0})

    def _version(self, row: Row) -> None:
        questions, settings = questions_of(row["questions"]), settings_of(row["settings"])
        values = {"project_id": self.project_id, "version": int(row["version"]), "guidelines": str(row["guidelines"])}
        values |= {"questions": questions.model_dump(mode="json", exclude_none=True), "created_at": row["created_at"]}
        self.connection.execute(insert(project_version).values(settings=settings.model_dump(mode="json"), **values))
        here = update(project).where(project.c.id == self.project_id)
        self.connection.execute(here.values(current_version=values["version"]))
        self.projects[values["version"]] = get_project(self.connection, self.slug)

    def _member(self, row: Row) -> None:
        values = {name: row[name] for name in ("role", "paused", "quota")}
        member = {"project_id": self.project_id, "user_id": self._user(row["username"]), **values}
        self.connection.execute(insert(membership).values(**member))

    def _item(self, row: Row) -> None:
        fields = ("external_id", "prompt", "context", "meta", "priority", "overlap", "state", "created_at")
        values = {name: row[name] for name in fields} | {"project_id": self.project_id, "kind": row["item_kind"]}
        content = [row["prompt"], [one["content"] for one in row["responses"]]]
        values |= {"group_key": digest(row["prompt"]), "content_hash": digest(content)}
        values |= {"position": len(self.items) + 1, "public_id": new_id()}
        values["repeat_of"] = self.items[row["repeat_of"]]["id"] if "repeat_of" in row else None
        if row["external_id"] in self.items:
            raise UserError(f"the item {row['external_id']} is there twice.")
        values["id"] = self._insert(item, values)
        values["keys"] = response_keys(len(row["responses"]))
        if [one["key"] for one in row["responses"]] != values["keys"]:
            raise UserError(f"the responses of {row['external_id']} are not called {', '.join(values['keys'])}.")
        self.items[row["external_id"]] = values
        about = {"item_id": values["id"]}
        self.connection.execute(insert(response), [{**one, **about} for one in row["responses"]])
        if "gold" in row:
            self.connection.execute(insert(gold).values(**row["gold"], **about))
        for one in row.get("suggestions", []):
            self.connection.execute(insert(suggestion).values(**one, **about))
        if row["item_kind"] == "normal":
            self._slots(values, range(wanted(self.newest, values)), "void" if row["state"] == "void" else "open")

    def _slots(self, one: Row, numbers: Sequence[int], state: str = "open") -> None:
        for values in slot_rows(self.newest, one, numbers):
            self.slots[one["id"], values["slot_no"]] = self._insert(slot, {**values, "state": state})

    def _answer(self, row: Row) -> None:
        one, user_id = self.items[row["item"]], self._user(row["username"])
        if (one["id"], row["slot_no"]) not in self.slots:
            self._slots(one, [row["slot_no"]])
        slot_id = self.slots[one["id"], row["slot_no"]]
        verdict = check(self.projects[row["project_version"]].questions, one["keys"], row["value"])
        for name, problem in verdict.problems.items():
            raise UserError(f"the answer of {row['username']} to {row['item']}: {name}: {problem}.")
        fields = ("revision", "is_current", "project_version", "shown_order", "active_ms", "wall_ms", "submitted_at")
        values = {name: row[name] for name in (*fields, "suspect")}
        taken = select(annotation.c.id).where(annotation.c.client_key == row["client_key"])
        again = self.connection.execute(taken).first() is not None
        values |= {"client_key": secrets.token_hex(16) if again else row["client_key"], "slot_id": slot_id}
        about = {"project_id": self.project_id, "item_id": one["id"], "user_id": user_id}
        store_answer(self.connection, about, row["value"], **values)
        if row["is_current"]:
            done = {"state": "done", "user_id": user_id, "order": row["shown_order"]}
            self.connection.execute(update(slot).where(slot.c.id == slot_id).values(**done))
            self.done[user_id] += one["kind"] == "normal"

    def _note(self, row: Row) -> None:
        table = {"skip": skip, "draft": draft, "flag": flag, "adjudication": adjudication}[row["kind"]]
        about = {"item_id": self.items[row["item"]]["id"], "user_id": self._user(row["username"])}
        left = {name: value for name, value in row.items() if name not in ("kind", "item", "username", "flag_kind")}
        if "flag_kind" in row:
            left["kind"] = row["flag_kind"]
        if left.get("resolved_by") is not None:
            left["resolved_by"] = self._user(left["resolved_by"])
        later = left.pop("superseded_by", None)
        key = self.connection.execute(insert(table).values(**about, **left)).inserted_primary_key
        if table is adjudication:
            assert key is not None
            self.decisions.append((key[0], later))

    def _decision(self, place: Any) -> int:
        if not isinstance(place, int) or not 0 <= place < len(self.decisions):
            raise UserError(f"a decision is superseded by number {place!r}, which is not there.")
        return self.decisions[place][0]

    def finish(self) -> None:
        """Which decision came after which, and the counts."""
        for key, later in self.decisions:
            if later is not None:
                values = {"superseded_by": self._decision(later)}
                self.connection.execute(update(adjudication).where(adjudication.c.id == key).values(**values))
        for user_id, number in self.done.items():
            mine = (membership.c.project_id == self.project_id) & (membership.c.user_id == user_id)
            self.connection.execute(update(membership).where(mine).values(num_done=number))
        count_slots(self.connection, self.project_id)
