"""How a project is doing: counts, and each labeller's speed, accuracy and habits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import Connection, Text, cast, func, select

from heedful.labelling import gold
from heedful.labelling.aggregation import one_coin
from heedful.labelling.database import stream
from heedful.labelling.projects import Project
from heedful.labelling.tables import annotation, annotation_value, flag, item, membership, project, skip, user
from heedful.labelling.values import Parsed, verdicts

RECENT = 1000
"""Answers of each labeller that habits are seen from."""
LATEST = 30_000
"""Answers; accuracies are estimated from the items to which they were given."""
ENOUGH = 3
"""Answers of an item from which one can be told to be wrong."""
NOMINAL = {"preference": "preference", "thumbs": "thumbs", "safety": "safe"}
"""Question → what its answers are called in `annotation_value`."""


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
    """Of everybody who answered: how many, and habits over the last 1,000 answers of each.

    median_s: seconds of activity an answer.  suspect: answers marked as such.  first_shown: how often the response that
    stood first won.  gold, repeats: answers as expected, and answered again alike; skips.  estimated: see
    `estimated_accuracy`.
    """
    rows = _members(connection, found)
    golden = gold.share_right(gold.answers(connection, found))
    again = self_agreement(connection, found)
    estimated = estimated_accuracy(connection, found)
    skips = dict(
        connection.execute(
            select(skip.c.user_id, func.count())
            .join(item, item.c.id == skip.c.item_id)
            .where(item.c.project_id == found.id)
            .group_by(skip.c.user_id)
        ).all()
    )
    return [
        {"labeller": name, "role": role, "paused": paused, "answers": count}
        | _habits(connection, found, user_id)
        | {"gold": golden.get(user_id), "repeats": again.get(user_id), "skips": skips.get(user_id, 0)}
        | {"estimated": estimated.get(user_id)}
        for user_id, name, paused, role, count in rows
        if count or user_id in skips or user_id in golden
    ]


def _members(connection: Connection, found: Project) -> Sequence[Any]:
    """Id, name, paused, role and number of answers of everybody in the project, by name."""
    return connection.execute(
        select(user.c.id, user.c.username, membership.c.paused, membership.c.role, membership.c.num_done)
        .join(membership, membership.c.user_id == user.c.id)
        .where(membership.c.project_id == found.id)
        .order_by(user.c.username)
    ).all()


def position_bias(connection: Connection, found: Project) -> list[dict[str, Any]]:
    """How often the response that stood first won, of everybody who said which is better; see `labellers`."""
    rows = [
        {"labeller": name, "first_shown": _habits(connection, found, user_id)["first_shown"]}
        for user_id, name, _, _, _ in _members(connection, found)
    ]
    return [row for row in rows if row["first_shown"]]


def _habits(connection: Connection, found: Project, user_id: int) -> dict[str, Any]:
    mine = (annotation.c.user_id == user_id) & (annotation.c.project_id == found.id) & annotation.c.is_current
    texts = [cast(annotation.c[name], Text) for name in ("value", "shown_order", "suspect")]
    last = select(*texts, func.coalesce(annotation.c.active_ms, annotation.c.wall_ms))
    times, won, num, suspect = [], 0, 0, 0
    parsed = Parsed()
    rows = connection.execute(last.where(mine).order_by(annotation.c.submitted_at.desc()).limit(RECENT))
    for value, shown, marks, time in map(tuple, rows):
        suspect += bool(parsed[marks])
        times += [] if time is None else [time]
        shown = parsed[shown]
        winner = parsed[value].get("preference", {}).get("winner")
        if winner is not None and shown:
            num += 1
            won += winner == shown[0]
    return {
        "median_s": round(median(times) / 1000, 2) if times else None,
        "suspect": suspect,
        "first_shown": _share_of_first(won, num) if num else None,
    }


def _share_of_first(won: float, num: int) -> dict[str, Any]:
    """z: how many standard deviations the share is from a half."""
    return {"share": round(won / num, 4), "n": num, "z": round((won - num / 2) / (num / 4) ** 0.5, 2)}


def estimated_accuracy(connection: Connection, found: Project) -> dict[int, dict[str, Any]]:
    """How often somebody is right, as far as the others' answers tell: accuracy by one-coin EM, n judgements.

    Of the first question with a nominal answer (which is better, thumbs, is it safe), over what at least three judged
    of late; thumbs and safety are a judgement of each response.  Whoever judged nothing of that kind is left out.
    """
    asked = found.questions.asked()
    question = next((label for name, label in NOMINAL.items() if name in asked), None)
    judged = [] if question is None else _judged(connection, found, question)
    if not judged:
        return {}
    units = np.repeat(np.arange(len(judged)), [len(said) for said in judged])
    people, raters = np.unique([who for said in judged for who, _ in said], return_inverse=True)
    categories, codes = np.unique([num for said in judged for _, num in said], return_inverse=True)
    accuracy, n = one_coin(units, raters, codes, len(categories)).accuracy, np.bincount(raters)
    return {
        int(who): {"accuracy": round(float(accuracy[place]), 4), "n": int(n[place])} for place, who in enumerate(people)
    }


def _judged(connection: Connection, found: Project, question: str) -> list[list[tuple[int, float]]]:
    """Who said what of each item or response that enough people judged of late."""
    table = annotation_value.c
    last = (
        select(annotation.c.item_id)
        .where(annotation.c.project_id == found.id, annotation.c.is_current)
        .order_by(annotation.c.id.desc())
        .limit(LATEST)
        .subquery()
    )
    normal = select(item.c.id).where(
        item.c.id.in_(select(last.c.item_id)), item.c.kind == "normal", item.c.state != "void"
    )
    labels = select(table.item_id, table.response_key, table.user_id, table.num).where(
        table.project_id == found.id, table.question == question, table.item_id.in_(normal)
    )
    given: dict[Any, list[tuple[int, float]]] = defaultdict(list)
    for item_id, key, user_id, num in stream(connection, labels):
        given[item_id, key].append((user_id, num))
    return [said for said in given.values() if len(said) >= ENOUGH]


def self_agreement(connection: Connection, found: Project) -> dict[int, dict[str, Any]]:
    """Of repeated items: how many somebody answered as before, question by question that has one verdict."""
    before = annotation.alias("before")
    again = select(item.c.id).where(item.c.project_id == found.id, item.c.kind == "repeat")
    # The sum keeps SQLite from looking through all of somebody's answers for the one to that item.
    theirs = before.c.user_id + 0 == annotation.c.user_id
    rows = connection.execute(
        select(annotation.c.user_id, annotation.c.value, before.c.value)
        .join(item, item.c.id == annotation.c.item_id)
        .join(before, (before.c.item_id == item.c.repeat_of) & theirs)
        .where(annotation.c.item_id.in_(again), annotation.c.is_current, before.c.is_current)
    )
    same: dict[int, list[bool]] = defaultdict(list)
    for user_id, value, earlier in rows:
        same[user_id].append(verdicts(found.questions, value) == verdicts(found.questions, earlier))
    return {key: {"same": sum(found), "n": len(found)} for key, found in same.items()}


def position_of_all(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How often the response that stood first won, over all labellers."""
    shown = [row["first_shown"] for row in rows if row["first_shown"]]
    num = sum(one["n"] for one in shown)
    return _share_of_first(sum(one["share"] * one["n"] for one in shown), num) if num else None
