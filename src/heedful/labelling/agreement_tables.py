"""Agreement on every question of a project: from its items, or grouped by the database, quick for a million answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import Connection, Integer, Text, cast, func, or_, select

from heedful.labelling.agreement import (
    Estimate,
    Kinds,
    Level,
    cohen,
    ranking_agreement,
    statistics,
)
from heedful.labelling.consensus import Decided, Gathered
from heedful.labelling.projects import Project
from heedful.labelling.questions import Value
from heedful.labelling.tables import annotation, annotation_value, item, membership
from heedful.labelling.values import flat_rows

LEVELS: dict[str, Level] = {"strength": "ordinal", "severity": "ordinal"}
"""Scales of questions; grades are interval, everything else nominal."""
Labels = Iterable[tuple[Mapping[float, int], int]]
"""What a unit (an item or a response) was labelled, how often each; and of how many units that is so."""
Single = dict[str, list[tuple[Hashable, str, float]]]
"""Question → unit, who, label."""


def level_of(question: str) -> Level:
    """On which scale a question's answers are compared."""
    return "interval" if question.startswith("rating.") else LEVELS.get(question, "nominal")


def agreement_table(items: Gathered) -> dict[str, Any]:
    """Of every question raw agreement, α with its interval, Fleiss' κ; of two labellers Cohen's κ."""
    flat = _Flat()
    tables: dict[str, list[tuple[Mapping[float, int], int]]] = defaultdict(list)
    rankings: list[list[list[float]]] = []
    judged: list[tuple[dict[str, dict[str | None, Counter[float]]], int]] = []
    for kind in items.alike:
        one, number = kind[0], len(kind)
        units = _units(one, flat)
        for name in [name for name in units if not name.startswith("harm.")]:
            tables[name] += [(labels, number) for labels in units[name].values()]
        judged.append((units, number))
        given = [value["ranking"]["ranks"] for value in one.values if "ranking" in value]
        if given:
            rankings += [[[ranks[key] for key in one.keys] for ranks in given]] * number
    for name in {name for units, _ in judged for name in units if name.startswith("harm.")}:
        tables[name] = [
            (_yes_and_no(units[name][key].total(), labels.total()), number)
            for units, number in judged
            for key, labels in units["safe"].items()
        ]
    return _table(tables, _of_pair_in(items, flat), rankings)


class _Flat(dict[int, list[dict[str, Any]]]):
    """Answers as flat rows, each made once: those alike are one object."""

    def of(self, value: Value) -> list[dict[str, Any]]:
        found = self.get(id(value))
        if found is None:
            found = self[id(value)] = flat_rows(value)
        return found


def _units(one: Decided, flat: _Flat) -> dict[str, dict[str | None, Counter[float]]]:
    """Question → response (or None) → how often each label was given."""
    units: dict[str, dict[str | None, Counter[float]]] = defaultdict(lambda: defaultdict(Counter))
    for value in one.values:
        for row in flat.of(value):
            units[row["question"]][row["response_key"]][row["num"]] += 1
    return units


def _of_pair_in(items: Gathered, flat: _Flat) -> Single:
    """Single labels, where exactly two people gave any: for Cohen's κ."""
    single: Single = defaultdict(list)
    if len(items.book.labellers) == 2:
        for one in items:
            for answer in one.answers:
                for row in flat.of(answer.value):
                    single[row["question"]].append(((one.id, row["response_key"]), answer.labeller, row["num"]))
    return single


def agreement_in(connection: Connection, found: Project) -> dict[str, Any]:
    """The same of all normal items of a project.  The database says how many units were labelled in each way."""
    excluded = select(item.c.id).where(
        item.c.project_id == found.id, or_(item.c.kind != "normal", item.c.state == "void")
    )
    table = annotation_value.c
    kept = [table.project_id == found.id]
    if connection.execute(excluded.limit(1)).first() is not None:
        kept.append(table.item_id.not_in(excluded))
    labels = func.aggregate_strings(cast(cast(table.num, Integer), Text), " ").label("labels")  # all are whole numbers
    unit = (table.question, table.item_id, table.response_key)
    units = select(table.question, labels).where(*kept).group_by(*unit).subquery()
    given: dict[str, Counter[tuple[tuple[float, int], ...]]] = defaultdict(Counter)
    for name, text, number in map(tuple, connection.execute(select(*units.c, func.count()).group_by(*units.c))):
        given[name][_kind(text)] += number
    tables = {name: [(dict(kind), number) for kind, number in sorted(kinds.items())] for name, kinds in given.items()}
    if any(name.startswith("harm.") for name in tables):
        tables |= _harms(connection, found, kept, tables["safe"])
    return _table(tables, _of_two(connection, found), _rankings(connection, found))


def _harms(
    connection: Connection, found: Project, kept: Sequence[Any], safe: Labels
) -> dict[str, list[tuple[dict[float, int], int]]]:
    """Of each category of harm how many of those who judged a unit named it; most name none."""
    table, safety = annotation_value.c, annotation_value.alias("safety").c
    judged = (
        select(safety.item_id, safety.response_key, func.count().label("times"))
        .where(safety.project_id == found.id, safety.question == "safe")
        .group_by(safety.item_id, safety.response_key)
        .subquery()
    )
    named = (
        select(table.question, table.item_id, table.response_key, func.count().label("yes"))
        .where(*kept, table.question.startswith("harm."))
        .group_by(table.question, table.item_id, table.response_key)
        .subquery()
    )
    both = (named.c.item_id == judged.c.item_id) & (named.c.response_key == judged.c.response_key)
    kind = (named.c.question, named.c.yes, judged.c.times)
    asked = select(*kind, func.count()).join_from(named, judged, both).group_by(*kind)
    harms: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for name, yes, times, number in connection.execute(asked):
        harms[name][yes, times] += number
    everybody: Counter[int] = Counter()
    for labels, number in safe:
        everybody[sum(labels.values())] += number
    for kinds in harms.values():
        unnamed = Counter(everybody)
        for (_, times), number in kinds.items():
            unnamed[times] -= number
        kinds.update({(0, times): number for times, number in unnamed.items()})
    return {
        name: [(_yes_and_no(yes, times), number) for (yes, times), number in kinds.items()]
        for name, kinds in harms.items()
    }


def _kind(text: str) -> tuple[tuple[float, int], ...]:
    """Labels of a unit, as the database strings them together, with how often each."""
    labels = text.split(" ")
    return tuple(sorted((float(label), labels.count(label)) for label in set(labels)))


def _yes_and_no(yes: int, judged: int) -> dict[float, int]:
    return {0.0: judged - yes, 1.0: yes}


def _kinds(labels: Labels) -> Kinds:
    """Those units that have two labels."""
    found: Counter[tuple[tuple[float, int], ...]] = Counter()
    for times, number in labels:
        if sum(times.values()) >= 2 and number:
            found[tuple(sorted((label, count) for label, count in times.items() if count))] += number
    kinds = sorted(found.items())
    categories = sorted({label for kind, _ in kinds for label, _ in kind})
    counts = np.zeros((len(kinds), len(categories)))
    for row, (kind, _) in enumerate(kinds):
        for label, count in kind:
            counts[row, categories.index(label)] = count
    return Kinds(counts, np.array([number for _, number in kinds], int), np.array(categories))


def _of_two(connection: Connection, found: Project) -> Single:
    """Single labels, where exactly two people gave any: for Cohen's κ."""
    people = select(func.count()).where(membership.c.project_id == found.id, membership.c.num_done > 0)
    if connection.execute(people).scalar_one() != 2:
        return {}
    table = annotation_value.c
    asked = (
        select(table.question, table.item_id, table.response_key, table.user_id, table.num)
        .join(item, item.c.id == table.item_id)
        .where(table.project_id == found.id, item.c.kind == "normal", item.c.state != "void")
    )
    single: Single = defaultdict(list)
    for question, item_id, key, user_id, num in connection.execute(asked):
        single[question].append(((item_id, key), str(user_id), num))
    return single


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
    tables: Mapping[str, Sequence[tuple[Mapping[float, int], int]]],
    single: Single,
    rankings: Sequence[Sequence[Sequence[float]]],
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, labels in sorted({**tables, **_induced(rankings)}.items()):
        if name == "confidence":
            continue
        units, level = _kinds(labels), level_of(name)
        table[name] = {
            "level": level,
            "labels": sum(sum(times.values()) * number for times, number in labels),
            **{measure: _spelled(found) for measure, found in statistics(units, level).items()},
        }
        pair = [] if name.startswith("harm.") or name == "ranking" else single.get(name, [])
        if len({who for _, who, _ in pair}) == 2:
            table[name]["cohen_kappa"] = _of_pair(pair, level)
    if any(len(given) > 1 for given in rankings) and "ranking" in table:
        table["ranking"]["kendall_tau_b"] = _spelled(ranking_agreement(rankings))
    return table


def _induced(rankings: Sequence[Sequence[Sequence[float]]]) -> dict[str, list[tuple[Counter[float], int]]]:
    """A unit for every two responses of an item, labelled by each ranking: the first above the second, equal, below."""
    units = [
        (Counter(float(np.sign(ranks[second] - ranks[first])) for ranks in given), 1)
        for given in rankings
        if given
        for first, second in combinations(range(len(given[0])), 2)
    ]
    return {"ranking": units} if units else {}


def _of_pair(single: Sequence[tuple[Hashable, str, float]], level: Level) -> dict[str, Any]:
    given: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for unit, who, label in single:
        given[unit][who] = label
    both = [[label for _, label in sorted(labels.items())] for labels in given.values() if len(labels) == 2]
    first, second = zip(*both, strict=True) if both else ((), ())
    return _spelled(cohen(first, second, "none" if level == "nominal" else "quadratic"))


def _spelled(found: Estimate) -> dict[str, Any]:
    """Only what there is."""
    rounded = {name: _rounded(value) for name, value in asdict(found).items()}
    return {name: value for name, value in rounded.items() if value is not None or name == "value"}


def _rounded(value: Any) -> Any:
    """Without a zero below zero."""
    return round(value, 4) + 0.0 if isinstance(value, float) else value
