"""How good the answers are: agreement, each labeller's speed, accuracy and habits, gold, repetitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import Connection, case, func, select

from heedful.labelling.agreement import (
    Estimate,
    Level,
    alpha_with_interval,
    cohen,
    fleiss,
    ranking_agreement,
    raw_agreement,
    table_of,
)
from heedful.labelling.consensus import Decided
from heedful.labelling.projects import Project
from heedful.labelling.tables import annotation, annotation_value, flag, gold, item, membership, project, skip, user
from heedful.labelling.values import flat_rows, matches

LEVELS: dict[str, Level] = {"strength": "ordinal", "severity": "ordinal", "confidence": "ordinal"}
"""Scales of questions; grades are interval, everything else nominal."""

Labels = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Question → units, raters, labels, one entry a label.  A unit is an item, or one response of it."""


def level_of(question: str) -> Level:
    """On which scale a question's answers are compared."""
    return "interval" if question.startswith("rating.") else LEVELS.get(question, "nominal")


def agreement_table(found: Project, items: Sequence[Decided]) -> dict[str, Any]:
    """Of every question what `statistics` says, from items with their answers."""
    numbers: dict[str, int] = {}
    columns: dict[str, tuple[list[int], list[int], list[float]]] = defaultdict(lambda: ([], [], []))
    rankings = []
    for one in items:
        given = []
        for answer in one.answers:
            rater = numbers.setdefault(answer.labeller, len(numbers))
            for row in flat_rows(answer.value, one.keys):
                units, raters, labels = columns[row["question"]]
                units.append(one.id * 64 + int((row["response_key"] or "r0")[1:]))
                raters.append(rater)
                labels.append(row["num"])
            if "ranking" in answer.value:
                given.append([answer.value["ranking"]["ranks"][key] for key in one.keys])
        rankings.append(given)
    whole = {name: tuple(map(np.array, column)) for name, column in columns.items()}
    table = _of_labels(whole)  # pyright: ignore[reportArgumentType]
    if any(rankings):
        table["ranking"] = {"kendall_tau_b": _spelled(ranking_agreement(rankings))}
    asked = found.questions.asked()
    return {name: table[name] for name in sorted(table) if name.split(".")[0] in asked or name not in asked}


def labels_in(connection: Connection, found: Project) -> Labels:
    """The current answers to normal items, from the flat copy."""
    rows = connection.execute(
        select(
            annotation_value.c.question,
            annotation_value.c.item_id,
            annotation_value.c.response_key,
            annotation_value.c.user_id,
            annotation_value.c.num,
        )
        .join(item, item.c.id == annotation_value.c.item_id)
        .where(annotation_value.c.project_id == found.id, item.c.kind == "normal", item.c.state != "void")
    ).all()
    columns: dict[str, tuple[list[int], list[int], list[float]]] = defaultdict(lambda: ([], [], []))
    for question, item_id, key, user_id, num in rows:
        units, raters, labels = columns[question]
        units.append(item_id * 64 + int((key or "r0")[1:]))
        raters.append(user_id)
        labels.append(num)
    return {name: (np.array(u), np.array(r), np.array(x, float)) for name, (u, r, x) in columns.items()}


def agreement_in(connection: Connection, found: Project) -> dict[str, Any]:
    """Of every question: raw agreement, α with its interval, Fleiss' κ; of two labellers Cohen's κ."""
    return _of_labels(labels_in(connection, found))


def _of_labels(labels: Labels) -> dict[str, Any]:
    table: dict[str, Any] = {}
    harms: Labels = {}
    for name, (units, raters, values) in labels.items():
        if name.startswith("harm."):
            harms[name] = (units, raters, values)
        elif name != "confidence":
            table[name] = statistics(units, raters, values, level_of(name))
    if harms and "safe" in labels:
        table |= _of_harms(harms, labels["safe"])
    return table


def _of_harms(harms: Labels, safe: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Each category yes or no, by everybody who judged the response at all."""
    found = {}
    for name, (units, raters, _) in sorted(harms.items()):
        named = set(zip(units.tolist(), raters.tolist(), strict=True))
        judged = zip(safe[0].tolist(), safe[1].tolist(), strict=True)
        found[name] = statistics(safe[0], safe[1], np.array([float(pair in named) for pair in judged]), "nominal")
    return found


def statistics(units: np.ndarray, raters: np.ndarray, labels: np.ndarray, level: Level) -> dict[str, Any]:
    """All agreement statistics of one question."""
    table = table_of(units, raters, labels)
    found = {"level": level, "labels": len(labels), "raw": _spelled(raw_agreement(table))}
    found["krippendorff_alpha"] = _spelled(alpha_with_interval(table, level))
    found["fleiss_kappa"] = _spelled(fleiss(table))
    if table.shape[1] == 2:
        weights = "none" if level == "nominal" else "quadratic"
        found["cohen_kappa"] = _spelled(cohen(table[:, 0].tolist(), table[:, 1].tolist(), weights))
    return found


def _spelled(found: Estimate) -> dict[str, Any]:
    """Only what there is."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(found).items()}
    return {name: value for name, value in rounded.items() if value is not None or name == "value"}


def overview(connection: Connection, found: Project) -> dict[str, Any]:
    """Counts of a project: items by state, answers, progress, skips, open flags."""
    here = item.c.project_id == found.id
    states = dict(
        connection.execute(
            select(item.c.state, func.count()).where(here, item.c.kind == "normal").group_by(item.c.state)
        ).all()
    )
    wanted = connection.execute(select(project.c.num_slots).where(project.c.id == found.id)).scalar_one()
    done = connection.execute(
        select(func.coalesce(func.sum(membership.c.num_done), 0)).where(membership.c.project_id == found.id)
    ).scalar_one()
    skips = select(skip.c.reason, func.count()).join(item, item.c.id == skip.c.item_id).where(here)
    flags = select(func.count()).select_from(flag.join(item, item.c.id == flag.c.item_id))
    return {
        "project": found.slug,
        "state": found.state,
        "version": found.version,
        "items": states,
        "answers": int(done),
        "answers_wanted": wanted,
        "skips": dict(connection.execute(skips.group_by(skip.c.reason)).all()),
        "open_flags": connection.execute(flags.where(here, flag.c.resolved_at.is_(None))).scalar_one(),
    }


def labellers(connection: Connection, found: Project) -> list[dict[str, Any]]:
    """Of everybody: answers, median seconds, suspect ones, position bias, gold accuracy, self-agreement, skips."""
    normal = (annotation.c.project_id == found.id) & annotation.c.is_current
    rows = connection.execute(
        select(
            user.c.id,
            user.c.username,
            membership.c.paused,
            membership.c.role,
            func.count(annotation.c.id),
            func.sum(case((func.length(annotation.c.suspect.cast(_text())) > 2, 1), else_=0)),
        )
        .join(annotation, annotation.c.user_id == user.c.id)
        .join(item, item.c.id == annotation.c.item_id)
        .outerjoin(membership, (membership.c.user_id == user.c.id) & (membership.c.project_id == found.id))
        .where(normal, item.c.kind == "normal", item.c.state != "void")
        .group_by(user.c.id, user.c.username, membership.c.paused, membership.c.role)
        .order_by(user.c.username)
    ).all()
    speeds = _speeds(connection, found)
    positions = position_bias(connection, found)
    golden, again = gold_accuracy(connection, found), self_agreement(connection, found)
    skips = dict(
        connection.execute(
            select(skip.c.user_id, func.count())
            .join(item, item.c.id == skip.c.item_id)
            .where(item.c.project_id == found.id)
            .group_by(skip.c.user_id)
        ).all()
    )
    return [
        {
            "labeller": name,
            "role": role or "manager",
            "paused": bool(paused),
            "answers": count,
            "median_s": speeds.get(user_id),
            "suspect": int(suspect or 0),
            "first_shown": positions.get(user_id),
            "gold": golden.get(user_id),
            "repeats": again.get(user_id),
            "skips": skips.get(user_id, 0),
        }
        for user_id, name, paused, role, count, suspect in rows
    ]


def _text() -> Any:
    from sqlalchemy import Text

    return Text()


def _speeds(connection: Connection, found: Project) -> dict[int, float]:
    """Median seconds of activity an answer, of the last 2,000 of everybody."""
    number = func.row_number().over(partition_by=annotation.c.user_id, order_by=annotation.c.id.desc()).label("number")
    time = func.coalesce(annotation.c.active_ms, annotation.c.wall_ms).label("ms")
    last = select(annotation.c.user_id, time, number).where(
        annotation.c.project_id == found.id, annotation.c.is_current, time.is_not(None)
    )
    recent = last.subquery()
    times: dict[int, list[int]] = defaultdict(list)
    for user_id, ms in connection.execute(select(recent.c.user_id, recent.c.ms).where(recent.c.number <= 2000)):
        times[user_id].append(ms)
    return {user_id: round(median(values) / 1000, 2) for user_id, values in times.items()}


def position_bias(connection: Connection, found: Project) -> dict[int, dict[str, Any]]:
    """How often the response that stood first won, of the pairs with a winner; z: how far that is from a half."""
    first = func.sum(case((annotation_value.c.first_shown, 1), else_=0))
    rows = connection.execute(
        select(annotation_value.c.user_id, first, func.count())
        .where(
            annotation_value.c.project_id == found.id,
            annotation_value.c.question == "preference",
            annotation_value.c.first_shown.is_not(None),
        )
        .group_by(annotation_value.c.user_id)
    )
    return {
        user_id: {"share": round(won / num, 4), "n": num, "z": round((won - num / 2) / (num / 4) ** 0.5, 2)}
        for user_id, won, num in rows
    }


def gold_accuracy(connection: Connection, found: Project) -> dict[int, dict[str, Any]]:
    """Of the items whose answer is known: how many somebody answered as expected."""
    rows = connection.execute(
        select(annotation.c.user_id, annotation.c.value, gold.c.expected)
        .join(gold, gold.c.item_id == annotation.c.item_id)
        .where(annotation.c.project_id == found.id, annotation.c.is_current)
    )
    right: dict[int, list[bool]] = defaultdict(list)
    for user_id, value, expected in rows:
        right[user_id].append(matches(expected, value))
    return {key: {"right": sum(found), "n": len(found)} for key, found in right.items()}


def self_agreement(connection: Connection, found: Project) -> dict[int, dict[str, Any]]:
    """Of repeated items: how many somebody answered as before, question by question that has one verdict."""
    from heedful.labelling.values import verdicts

    before = annotation.alias("before")
    rows = connection.execute(
        select(annotation.c.user_id, annotation.c.value, before.c.value)
        .join(item, item.c.id == annotation.c.item_id)
        .join(before, (before.c.item_id == item.c.repeat_of) & (before.c.user_id == annotation.c.user_id))
        .where(
            annotation.c.project_id == found.id,
            annotation.c.is_current,
            before.c.is_current,
            item.c.kind == "repeat",
        )
    )
    same: dict[int, list[bool]] = defaultdict(list)
    for user_id, value, earlier in rows:
        same[user_id].append(verdicts(found.questions, value) == verdicts(found.questions, earlier))
    return {key: {"same": sum(found), "n": len(found)} for key, found in same.items()}


def position_of_all(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The same over all labellers."""
    shown = [row["first_shown"] for row in rows if row["first_shown"]]
    num = sum(one["n"] for one in shown)
    if not num:
        return None
    won = sum(one["share"] * one["n"] for one in shown)
    return {"share": round(won / num, 4), "n": num, "z": round((won - num / 2) / (num / 4) ** 0.5, 2)}
