"""What a manifest says of an export: whose, asked for how, of which answers, what stayed out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from heedful.labelling.agreement_tables import agreement_table
from heedful.labelling.consensus import Decided, Gathered
from heedful.labelling.database import now
from heedful.labelling.formats.training import Row
from heedful.labelling.projects import Project
from heedful.labelling.tables import item

if TYPE_CHECKING:
    from heedful.labelling.exporting import Asked

KEPT_ASIDE = ("gold", "training", "repeat")
"""Kinds of items that go out only where they are asked for."""
PAIRS = ("trl", "hh", "pairs-csv")
"""Formats whose rows are a chosen and a rejected response."""


def whole(
    connection: Connection,
    found: Project,
    asked: Asked,
    items: Gathered,
    groups: Sequence[tuple[Decided, list[Row]]],
    reasons: Counter[str],
) -> dict[str, Any]:
    """Of items that were gathered: groups are those that went out, reasons say why others did not."""
    book = items.book
    return {
        **head(found, asked),
        "newest_answer": book.newest,
        "versions": book.versions,
        "items": {"in": len(items), "out": len(groups)},
        "left_out": dict(sorted(reasons.items())),
        "kept_aside": _kept_aside(connection, found, asked),
        "answers": len(book),
        "labellers": len(book.labellers),
        "agreement": agreement_table(items),
        "direction": _direction(asked),
    }


def head(found: Project, asked: Asked) -> dict[str, Any]:
    """What every manifest begins with.  `at` alone differs between exports of the same answers."""
    aggregate = asked.aggregate if isinstance(asked.aggregate, str) else getattr(asked.aggregate, "__name__", "own")
    return {
        "project": found.slug,
        "format": asked.format,
        "params": asdict(replace(asked, aggregate=aggregate)),
        "at": now() if asked.as_of is None else asked.as_of,
        "current_version": found.version,
        "questions": found.questions.model_dump(mode="json", exclude_none=True),
    }


def _direction(asked: Asked) -> str | None:
    """In words, for a pair whose `chosen` may be the worse one."""
    if asked.format not in PAIRS:
        return None
    if asked.shape.question == "safer":
        return f"chosen is the {'safer' if asked.shape.direction == 'safer' else 'more harmful'} response"
    return "chosen is the better response"


def _kept_aside(connection: Connection, found: Project, asked: Asked) -> dict[str, int]:
    what = (item.c.kind, item.c.state)
    counts: Counter[str] = Counter()
    asked_for = select(*what, func.count()).where(item.c.project_id == found.id).group_by(*what)
    for kind, state, number in connection.execute(asked_for):
        counts["void" if state == "void" else kind] += number
    return {name: counts[name] for name in (*KEPT_ASIDE, "void") if counts[name] and name not in asked.include}
