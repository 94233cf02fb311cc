"""Items whose answer is known: who answered them as expected, and who is paused because too few were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from heedful.config.suggest import did_you_mean
from heedful.labelling.events import Actor
from heedful.labelling.projects import Project, pause_member
from heedful.labelling.questions import SEVERITIES, Questions
from heedful.labelling.tables import annotation, gold, item, user
from heedful.labelling.values import matches
from heedful.types import UserError

GOLD = Actor(None, "gold")
"""Whoever pauses those that answer gold wrongly."""


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
        .where(annotation.c.item_id.in_(_items(found)), annotation.c.is_current)
    )
    tolerance = found.settings.gold_tolerance
    return [Answered(row.user_id, row.item_id, matches(row.expected, row.value, tolerance)) for row in rows]


def _items(found: Project) -> Any:
    """The ids of a project's gold items: few, so that nobody looks through all answers for theirs."""
    return select(item.c.id).where(item.c.project_id == found.id, item.c.kind.in_(("gold", "training")))


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


def check_tolerance(questions: Questions, tolerance: Mapping[str, int]) -> None:
    """Raises UserError for a grade that is not asked, and for a tolerance by which every answer is right."""
    most = _ranges(questions)
    for name, by in tolerance.items():
        if name not in most:
            there = f"there are: {', '.join(most)}" if most else "there are none"
            said = f"no grade {name!r} is asked{did_you_mean(name, list(most))} ({there})"
        elif by >= most[name]:
            said = f"{name} must be at most {most[name] - 1}, since by {by} every answer is right"
        else:
            continue
        raise UserError(f"settings: gold_tolerance: {said}.")


def _ranges(questions: Questions) -> dict[str, float]:
    """How far apart answers can be, by what their grades are called; of ranks that depends on the item."""
    found: dict[str, float] = {}
    if questions.preference is not None and questions.preference.strength > 1:
        found["strength"] = questions.preference.strength - 1
    if questions.ranking is not None:
        found["ranking"] = inf
    if questions.rating is not None:
        found |= {f"rating.{name}": scale.high - scale.low for name, scale in questions.rating.dimensions.items()}
    if questions.safety is not None and questions.safety.severity:
        found["severity"] = len(SEVERITIES) - 1
    if questions.confidence is not None:
        found["confidence"] = questions.confidence.levels - 1
    return found


def pause_if_careless(connection: Connection, found: Project, user_id: int) -> None:
    """Give no more work to somebody whose last answer to silent gold is wrong, as too many before it were."""
    settings = found.settings
    if not settings.pause_below:
        return
    last = connection.execute(
        select(annotation.c.value, gold.c.expected)
        .join(gold, gold.c.item_id == annotation.c.item_id)
        .join(item, item.c.id == annotation.c.item_id)
        .where(annotation.c.user_id == user_id, annotation.c.project_id == found.id, annotation.c.is_current)
        .where(item.c.kind == "gold", item.c.state != "void")
        .order_by(annotation.c.submitted_at.desc(), annotation.c.id.desc())
        .limit(settings.pause_after)
    ).all()
    right = [matches(row.expected, row.value, settings.gold_tolerance) for row in last]
    if len(right) < settings.pause_after or right[0] or sum(right) >= settings.pause_below * len(right):
        return
    name = connection.execute(select(user.c.username).where(user.c.id == user_id)).scalar_one()
    pause_member(connection, found.slug, name, paused=True, actor=GOLD)
