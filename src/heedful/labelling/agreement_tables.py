"""Agreement on every question of a project: from its items, or grouped by the database, quick for a million answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, or_, select

from heedful.labelling.agreement import (
    Counts,
    Estimate,
    Level,
    cohen,
    counts_from,
    fleiss_of_counts,
    interval_of_alpha,
    ranking_agreement,
    raw_of_counts,
    table_of,
)
from heedful.labelling.consensus import Decided
from heedful.labelling.database import many_rows
from heedful.labelling.projects import Project
from heedful.labelling.tables import annotation, annotation_value, item, membership
from heedful.labelling.values import flat_rows

LEVELS: dict[str, Level] = {"strength": "ordinal", "severity": "ordinal"}
"""Scales of questions; grades are interval, everything else nominal."""
KEYS = 64
"""More than an item has responses: a unit is item × 64 + response."""

Grouped = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Question → units, labels, how often each unit got each label."""


def level_of(question: str) -> Level:
    """On which scale a question's answers are compared."""
    return "interval" if question.startswith("rating.") else LEVELS.get(question, "nominal")


def agreement_table(items: Sequence[Decided]) -> dict[str, Any]:
    """Of every question raw agreement, α with its interval, Fleiss' κ; of two labellers Cohen's κ."""
    counted: dict[str, Counter[tuple[int, float]]] = defaultdict(Counter)
    raters: dict[str, list[tuple[int, str, float]]] = defaultdict(list)
    for one in items:
        for answer in one.answers:
            for row in flat_rows(answer.value):
                unit = one.id * KEYS + _place(row["response_key"])
                counted[row["question"]][unit, row["num"]] += 1
                raters[row["question"]].append((unit, answer.labeller, row["num"]))
    grouped = {
        name: tuple(np.array(column) for column in zip(*((*key, times) for key, times in found.items()), strict=True))
        for name, found in counted.items()
    }
    rankings = [
        [list(a.value["ranking"]["ranks"].values()) for a in one.answers if "ranking" in a.value] for one in items
    ]
    return _table(grouped, dict(raters), rankings)  # pyright: ignore[reportArgumentType]


def agreement_in(connection: Connection, found: Project) -> dict[str, Any]:
    """The same of all normal items of a project, grouped by the database."""
    with many_rows():
        return _agreement_in(connection, found)


def _agreement_in(connection: Connection, found: Project) -> dict[str, Any]:
    excluded = connection.execute(
        select(item.c.id).where(item.c.project_id == found.id, or_(item.c.kind != "normal", item.c.state == "void"))
    ).scalars()
    out = np.array(excluded.all(), int)
    columns = (annotation_value.c.question, annotation_value.c.item_id, annotation_value.c.response_key)
    asked = (
        select(*columns, annotation_value.c.num, func.count())
        .where(annotation_value.c.project_id == found.id)
        .group_by(*columns, annotation_value.c.num)
    )
    grouped: Grouped = {}
    rows_of = groupby(connection.execute(asked.order_by(columns[0])).all(), key=lambda row: row[0])
    for name, rows in rows_of:
        _, ids, keys, labels, times = zip(*rows, strict=True)
        places = np.array([_place(key) for key in keys]) if keys[0] is not None else 0
        item_ids = np.array(ids)
        kept = ~np.isin(item_ids, out)
        units = item_ids * KEYS + places
        if kept.any():
            grouped[name] = (units[kept], np.array(labels, float)[kept], np.array(times)[kept])
    return _table(grouped, _of_two(connection, found, set(out.tolist())), _rankings(connection, found))


def _place(key: str | None) -> int:
    return 0 if key is None else int(key[1:])


def _of_two(connection: Connection, found: Project, out: set[int]) -> dict[str, list[tuple[int, str, float]]]:
    """Single labels, where exactly two people gave any: for Cohen's κ."""
    people = select(func.count()).where(membership.c.project_id == found.id, membership.c.num_done > 0)
    if connection.execute(people).scalar_one() != 2:
        return {}
    single: dict[str, list[tuple[int, str, float]]] = defaultdict(list)
    table = annotation_value.c
    asked = select(table.question, table.item_id, table.response_key, table.user_id, table.num)
    for question, item_id, key, user_id, num in connection.execute(asked.where(table.project_id == found.id)):
        if item_id not in out:
            single[question].append((item_id * KEYS + _place(key), str(user_id), num))
    return dict(single)


def _rankings(connection: Connection, found: Project) -> list[list[list[float]]]:
    """Of each item the rankings it got."""
    if found.questions.ranking is None:
        return []
    asked = (
        select(annotation.c.item_id, annotation.c.value)
        .join(item, item.c.id == annotation.c.item_id)
        .where(annotation.c.project_id == found.id, annotation.c.is_current)
        .where(item.c.kind == "normal", item.c.state != "void")
    )
    given: dict[int, list[list[float]]] = defaultdict(list)
    for item_id, value in connection.execute(asked):
        if "ranking" in value:
            given[item_id].append([rank for _, rank in sorted(value["ranking"]["ranks"].items())])
    return list(given.values())


def _table(
    grouped: Grouped, single: dict[str, list[tuple[int, str, float]]], rankings: Sequence[Sequence[Sequence[float]]]
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, (units, labels, times) in sorted(grouped.items()):
        if name == "confidence":
            continue
        if name.startswith("harm."):
            if "safe" in grouped:
                table[name] = _of_harm((units, times), grouped["safe"])
            continue
        counts, categories = counts_from(units, labels, times)
        table[name] = _statistics(counts, categories, level_of(name), int(times.sum()))
        if name in single and len({who for _, who, _ in single[name]}) == 2:
            table[name]["cohen_kappa"] = _of_pair(single[name], level_of(name))
    if any(len(given) > 1 for given in rankings) and "ranking" in table:
        table["ranking"]["kendall_tau_b"] = _spelled(ranking_agreement(rankings))
    return table


def _of_harm(named: tuple[np.ndarray, np.ndarray], safe: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, Any]:
    """A category, yes or no, by everybody who judged the response at all."""
    units, places = np.unique(safe[0], return_inverse=True)
    judged = np.bincount(places, safe[2])
    yes = np.zeros(len(units))
    yes[np.searchsorted(units, named[0])] = named[1]
    counts = np.column_stack([judged - yes, yes])
    return _statistics(counts[judged >= 2], np.array([0.0, 1.0]), "nominal", int(judged.sum()))


def _statistics(counts: Counts, categories: np.ndarray, level: Level, labels: int) -> dict[str, Any]:
    return {
        "level": level,
        "labels": labels,
        "raw": _spelled(raw_of_counts(counts)),
        "krippendorff_alpha": _spelled(interval_of_alpha(counts, categories, level)),
        "fleiss_kappa": _spelled(fleiss_of_counts(counts)),
    }


def _of_pair(single: list[tuple[int, str, float]], level: Level) -> dict[str, Any]:
    units, names, labels = zip(*single, strict=True)
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    table = table_of(np.array(units), np.array([numbers[name] for name in names]), np.array(labels, float))
    return _spelled(cohen(table[:, 0].tolist(), table[:, 1].tolist(), "none" if level == "nominal" else "quadratic"))


def _spelled(found: Estimate) -> dict[str, Any]:
    """Only what there is."""
    rounded = {name: _rounded(value) for name, value in asdict(found).items()}
    return {name: value for name, value in rounded.items() if value is not None or name == "value"}


def _rounded(value: Any) -> Any:
    """Without a zero below zero."""
    return round(value, 4) + 0.0 if isinstance(value, float) else value
