"""Items in the database: adding them with their slots, and reading their responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, cast, delete, func, select, update

from heedful.labelling.database import Database, Spelled, insert_many, many_rows, new_ids, now, stream
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.given import take_answers
from heedful.labelling.new_items import NewItem, digest, problem_of, response_keys, turns, without_labels
from heedful.labelling.projects import Project, get_project
from heedful.labelling.slots import count_slots, release, resize, rewind, slot_rows, wanted
from heedful.labelling.tables import (
    annotation,
    draft,
    gold,
    item,
    response,
    slot,
    suggestion,
)

Conflict = Literal["skip", "error", "update"]


BATCH = 1000
BLOCK = 5000
"""Items of one transaction of a large import."""


class Stored(NamedTuple):
    """A response in the database.  content: messages; source: where it is from; meta: what its data said beside."""

    key: str
    content: list[dict[str, str]]
    source: str | None
    meta: dict[str, Any] | None


KEY = itemgetter(0)
RESPONSES = (
    select(response.c.item_id, *[response.c[name] for name in Stored._fields])
    .where(response.c.item_id.in_(bindparam("items", expanding=True)))
    .order_by(response.c.id)
)


@dataclass
class Added:
    """What became of items: refused names each with the reason."""

    added: int = 0
    updated: int = 0
    skipped: int = 0
    answers: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def add_items(
    connection: Connection,
    slug: str,
    items: Iterable[NewItem],
    *,
    on_conflict: Conflict = "skip",
    dry_run: bool = False,
    actor: Actor = CLI,
) -> Added:
    """Add items to a project, each with as many slots as answers are wanted.

    An item whose name is there already is skipped, refused or updated; the texts of one that was answered can no longer
    change.  Those that cannot be judged are refused, with their origin and the reason; the rest goes
    in.  dry_run: say what would happen.
    """
    found = get_project(connection, slug)
    adder = _Adder(connection, found, on_conflict, dry_run)
    stream = iter(items)
    with many_rows():
        while block := list(islice(stream, BATCH)):
            adder.add(block)
    outcome = adder.outcome
    if not dry_run and (outcome.added or outcome.updated):
        count_slots(connection, found.id)
        rewind(connection, found.id)
        counts = {"added": outcome.added, "updated": outcome.updated, "skipped": outcome.skipped}
        record(connection, actor, "items.import", "project", slug, counts)
    return outcome


def add_in_blocks(
    db: Database, slug: str, items: Iterable[NewItem], *, on_conflict: Conflict = "skip", actor: Actor = CLI
) -> Added:
    """`add_items` in many short transactions, between which others answer; what is cut short goes on when repeated."""
    whole, stream = Added(), iter(items)
    while block := list(islice(stream, BLOCK)):
        with db.write() as connection:
            added = add_items(connection, slug, block, on_conflict=on_conflict, actor=actor)
        for name in ("added", "updated", "skipped", "answers"):
            setattr(whole, name, getattr(whole, name) + getattr(added, name))
        whole.refused += added.refused
    return whole


class _Adder:
    """Items, block by block."""

    def __init__(self, connection: Connection, found: Project, on_conflict: Conflict, dry_run: bool) -> None:
        self.connection, self.project, self.on_conflict, self.dry_run = connection, found, on_conflict, dry_run
        self.outcome = Added()
        self.seen: set[str] = set()
        last = select(func.max(item.c.position)).where(item.c.project_id == found.id)
        self.position = (connection.execute(last).scalar() or 0) + 1

    def add(self, block: Sequence[NewItem]) -> None:
        good: list[tuple[str, NewItem]] = []
        for one in block:
            problem = problem_of(self.project, one)
            if problem is None:
                good.append((one.external_id or digest(one.content())[:16], one))
            else:
                self.outcome.refused.append((one.origin or one.external_id or "an item", problem))
        there = self._there([name for name, _ in good])
        fresh: list[tuple[str, NewItem]] = []
        for name, one in good:
            if name in self.seen:
                self.outcome.refused.append((one.origin or name, f"the item {name} stands there twice"))
                continue
            self.seen.add(name)
            if name not in there:
                fresh.append((name, one))
            elif self.on_conflict == "update":
                self._update(there[name], one)
            elif self.on_conflict == "error":
                self.outcome.refused.append((one.origin or name, f"there is an item {name} already"))
            else:
                self.outcome.skipped += 1
        self.outcome.added += len(fresh)
        if fresh and not self.dry_run:
            self._insert(fresh)

    def _there(self, names: Sequence[str]) -> dict[str, Any]:
        asked = select(item).where(item.c.project_id == self.project.id, item.c.external_id.in_(names))
        return {row.external_id: row for row in self.connection.execute(asked)}

    def _insert(self, fresh: Sequence[tuple[str, NewItem]]) -> None:
        rows, public = [], new_ids(len(fresh))
        for (name, one), public_id in zip(fresh, public, strict=True):
            rows.append(_item_row(self.project, name, one) | {"public_id": public_id, "position": self.position})
            self.position += 1
        insert_many(self.connection, item, rows)
        asked = select(item.c.public_id, item.c.id).where(item.c.public_id.in_(public))
        ids: dict[str, int] = {row.public_id: row.id for row in self.connection.execute(asked)}
        answers, slots, golden, suggested = [], [], [], []
        for row, (_, one) in zip(rows, fresh, strict=True):
            row["id"] = ids[row["public_id"]]
            answers += _response_rows(row["id"], one)
            if row["kind"] == "normal":
                slots += slot_rows(self.project, row, range(wanted(self.project, row)))
            if one.gold is not None:
                golden.append({"item_id": row["id"], "expected": one.gold, "explanation": one.explanation})
            suggested += _suggestion_rows(row["id"], one)
        for table, values in ((response, answers), (slot, slots), (gold, golden), (suggestion, suggested)):
            insert_many(self.connection, table, values)
        for row, (_, one) in zip(rows, fresh, strict=True):
            if one.answers:
                self.outcome.answers += take_answers(self.connection, self.project, row, one, self.outcome.refused)

    def _update(self, row: Any, one: NewItem) -> None:
        answered = self.connection.execute(
            select(annotation.c.id).where(annotation.c.item_id == row.id).limit(1)
        ).first()
        changed = digest(one.content()) != row.content_hash
        if answered and changed:
            reason = f"{row.external_id} was answered; its texts can no longer change"
            self.outcome.refused.append((one.origin or row.external_id, reason))
            return
        if one.gold is not None and row.kind == "normal":
            reason = f"{row.external_id} is there as work; give gold another name"
            self.outcome.refused.append((one.origin or row.external_id, reason))
            return
        self.outcome.updated += 1
        if self.dry_run:
            return
        new = _item_row(self.project, row.external_id, one)
        kept = {"kind", "state", "created_at", *(name for name in ("context", "meta") if new[name] is None)}
        values = {name: value for name, value in new.items() if name not in kept}
        if changed and new["meta"] is None:  # what the data said of the texts that were there
            meta = self.connection.scalar(select(item.c.meta).where(item.c.id == row.id))
            values["meta"] = without_labels(meta or {}) or None
        self.connection.execute(update(item).where(item.c.id == row.id).values(**values))
        if changed:
            held = select(slot.c.id).where(slot.c.item_id == row.id, slot.c.state == "leased")
            release(self.connection, self.connection.execute(held).scalars().all())  # nobody judges texts that are gone
            self.connection.execute(delete(draft).where(draft.c.item_id == row.id))
            self.connection.execute(delete(response).where(response.c.item_id == row.id))
            insert_many(self.connection, response, _response_rows(row.id, one))
        for said in [] if changed else _response_rows(row.id, one):
            named = {name: said[name] for name in ("source", "meta") if said[name] is not None}
            if named:
                here = (response.c.item_id == row.id) & (response.c.key == said["key"])
                self.connection.execute(update(response).where(here).values(**named))
        if one.gold is not None:
            known = {"expected": one.gold, "explanation": one.explanation}
            self.connection.execute(update(gold).where(gold.c.item_id == row.id).values(**known))
        for agent in one.suggestions:
            old = (suggestion.c.item_id == row.id) & (suggestion.c.agent == agent)
            self.connection.execute(delete(suggestion).where(old))
        insert_many(self.connection, suggestion, _suggestion_rows(row.id, one))
        if row.kind == "normal" and row.state != "void":
            whole = {**values, "id": row.id, "position": row.position, "kind": row.kind}
            resize(self.connection, self.project, whole)


def _item_row(found: Project, name: str, one: NewItem) -> dict[str, Any]:
    kind = "normal" if one.gold is None else "training" if found.settings.gold == "training" else "gold"
    content = one.content()
    return {
        "project_id": found.id,
        "external_id": name,
        "prompt": content[0],
        "context": one.context or None,
        "meta": one.meta or None,
        "group_key": digest(content[0]),
        "content_hash": digest(content),
        "kind": kind,
        "priority": one.priority,
        "overlap": one.overlap,
        "state": "open",
        "created_at": now(),
    }


def _response_rows(item_id: int, one: NewItem) -> list[dict[str, Any]]:
    return [
        {"item_id": item_id, "key": key, "content": turns(r.messages), "source": r.source, "meta": r.meta or None}
        for key, r in zip(response_keys(len(one.responses)), one.responses, strict=True)
    ]


def _suggestion_rows(item_id: int, one: NewItem) -> list[dict[str, Any]]:
    about = {"item_id": item_id, "at": now()}
    return [
        {**about, "agent": agent, "value": value, "score": one.scores.get(agent)}
        for agent, value in one.suggestions.items()
    ]


def response_counts(connection: Connection, project_id: int) -> set[int]:
    """How many responses items of a project have."""
    each = (
        select(func.count().label("num"))
        .select_from(response.join(item, item.c.id == response.c.item_id))
        .where(item.c.project_id == project_id, item.c.state != "void")
        .group_by(response.c.item_id)
        .subquery()
    )
    return set(connection.execute(select(each.c.num).distinct()).scalars())


def responses_in(connection: Connection, project_id: int, *, spelled: bool = False) -> dict[int, list[Stored]]:
    """The responses of all items of a project, in the order of the data.  spelled: their content as it is stored."""
    found: dict[int, list[Stored]] = defaultdict(list)
    here = select(item.c.id).where(item.c.project_id == project_id)
    columns: dict[str, Any] = {name: response.c[name] for name in Stored._fields}
    if spelled:
        columns["content"] = cast(response.c.content, Spelled)
    asked = select(*columns.values(), response.c.item_id)
    new = tuple.__new__  # a NamedTuple's own takes twice as long
    for key, content, source, meta, item_id in stream(connection, asked.where(response.c.item_id.in_(here))):
        found[item_id].append(new(Stored, (key, content, source, meta)))
    for responses in found.values():
        if len(responses) > 1:
            responses.sort(key=_number if len(responses) > 10 else KEY)  # r2 comes after r10 by their names
    return found


def _number(one: Stored) -> int:
    return int(one.key[1:])


def responses_of(connection: Connection, item_ids: Sequence[int]) -> dict[int, list[Stored]]:
    """The responses of items, in the order of the data."""
    found: dict[int, list[Stored]] = {key: [] for key in item_ids}
    for block in _blocks(item_ids, BATCH):
        for item_id, *row in connection.execute(RESPONSES, {"items": block}):
            found[item_id].append(Stored(*row))
    return found


def _blocks(values: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
