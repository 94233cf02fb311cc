"""Items whose answer is known: who answered them as expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from heedful.labelling.projects import Project
from heedful.labelling.tables import annotation, gold, item, user
from heedful.labelling.values import matches


class Answered(NamedTuple):
    """One answer to a gold item, and whether it says what is expected."""

    user_id: int
    item_id: int
    right: bool


def answers(connection: Connection, found: Project) -> list[Answered]:
    """All answers to gold items of a project, those to training items too."""
    rows = connection.execute(
        select(annotation.c.user_id, annotation.c.item_id, annotation.c.value, gold.c.expected)
        .join(gold, gold.c.item_id == annotation.c.item_id)
        .where(annotation.c.project_id == found.id, annotation.c.is_current)
    )
    return [Answered(row.user_id, row.item_id, matches(row.expected, row.value)) for row in rows]


def share_right(given: Sequence[Answered], of: str = "user_id") -> dict[int, dict[str, int]]:
    """Of each person, or of each item: how many answers there were, and how many were right."""
    right: dict[int, list[bool]] = defaultdict(list)
    for one in given:
        right[getattr(one, of)].append(one.right)
    return {key: {"right": sum(found), "n": len(found)} for key, found in right.items()}


def by_labeller(connection: Connection, given: Sequence[Answered]) -> list[dict[str, Any]]:
    """Everybody who answered gold, by name."""
    counted = share_right(given)
    names = select(user.c.id, user.c.username).where(user.c.id.in_(list(counted))).order_by(user.c.username)
    return [{"labeller": name, **counted[key]} for key, name in map(tuple, connection.execute(names))]


def by_item(connection: Connection, found: Project, given: Sequence[Answered]) -> list[dict[str, Any]]:
    """Every gold item, in the order of the data; one that most answer otherwise may be expected wrongly."""
    counted = share_right(given, "item_id")
    names = ("public_id", "external_id", "kind", "state")
    asked = select(item.c.id, *[item.c[name] for name in names], gold.c.expected, gold.c.explanation)
    rows = connection.execute(
        asked.join(gold, gold.c.item_id == item.c.id).where(item.c.project_id == found.id).order_by(item.c.position)
    )
    return [
        {name: getattr(row, name) for name in (*names, "expected", "explanation")}
        | counted.get(row.id, {"right": 0, "n": 0})
        for row in rows
    ]
