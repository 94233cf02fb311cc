"""What there is of items beside their answers: who passed them over, what is known of them, what models say."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import Connection, exists, select

from heedful.labelling.projects import Project
from heedful.labelling.questions import Value
from heedful.labelling.tables import annotation, gold, item, membership, skip, suggestion, user


class Skipped(NamedTuple):
    """Somebody passed an item over, and has not answered it since."""

    labeller: str
    reason: str
    comment: str


class Suggested(NamedTuple):
    """What a model says.  value: parts of an answer, and whatever else it gave; nobody checked it."""

    agent: str
    value: Value
    score: float | None


class Beside(NamedTuple):
    """Of one item.  skips: by the labellers' names.  gold: the parts of the answer that are known, and why.
    suggestions: the newest first."""

    skips: tuple[Skipped, ...] = ()
    gold: Value | None = None
    explanation: str = ""
    suggestions: tuple[Suggested, ...] = ()


NOTHING = Beside()


def read_beside(
    connection: Connection, found: Project, *, as_of: float | None = None, without_paused: bool = False
) -> dict[int, Beside]:
    """By the item's id, of those items of a project that have any.

    as_of: what there was then; gold has no time.  without_paused: leave out the skips of labellers who are paused.
    """
    skips, suggestions = defaultdict[int, list[Skipped]](list), defaultdict[int, list[Suggested]](list)
    before = [annotation.c.submitted_at <= as_of] if as_of is not None else []
    asked = (
        select(skip.c.item_id, user.c.username, skip.c.reason, skip.c.comment)
        .join(user, user.c.id == skip.c.user_id)
        .where(*_here(skip, found), *([skip.c.at <= as_of] if as_of is not None else []))
        .where(~exists().where(annotation.c.item_id == skip.c.item_id, annotation.c.user_id == skip.c.user_id, *before))
        .order_by(skip.c.item_id, user.c.username)
    )
    if without_paused:
        working = select(membership.c.user_id).where(membership.c.project_id == found.id, ~membership.c.paused)
        asked = asked.where(skip.c.user_id.in_(working))
    for item_id, *row in connection.execute(asked):
        skips[item_id].append(Skipped(*row))
    asked = select(suggestion.c.item_id, suggestion.c.agent, suggestion.c.value, suggestion.c.score)
    asked = asked.where(*_here(suggestion, found), *([suggestion.c.at <= as_of] if as_of is not None else []))
    for item_id, *row in connection.execute(asked.order_by(suggestion.c.at.desc(), suggestion.c.agent)):
        suggestions[item_id].append(Suggested(*row))
    known = {row.item_id: row for row in connection.execute(select(gold).where(*_here(gold, found)))}
    return {
        key: Beside(
            tuple(skips.get(key, ())),
            known[key].expected if key in known else None,
            known[key].explanation if key in known else "",
            tuple(suggestions.get(key, ())),
        )
        for key in {*skips, *known, *suggestions}
    }


def _here(table: Any, found: Project) -> list[Any]:
    return [table.c.item_id.in_(select(item.c.id).where(item.c.project_id == found.id))]
