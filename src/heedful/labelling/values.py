"""Answers as numbers: for statistics, for agreement, for comparing with what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from heedful.labelling.questions import Questions, Value

TIE, BOTH_BAD = -1, -2
"""A preference without a winner; a winner is its response's number."""

Verdict = tuple[Any, ...]


class Parsed(dict[str, Any]):
    """Answers, and what is beside them, by their stored text.  Many are alike: each is parsed once, and shared."""

    def __missing__(self, text: str) -> Any:
        value = self[text] = orjson.loads(text)
        return value


def flat_rows(value: Value) -> list[dict[str, Any]]:
    """The answer as rows of `annotation_value`: question, response_key, num."""
    rows: list[dict[str, Any]] = []

    def add(question: str, num: float, key: str | None = None) -> None:
        rows.append({"question": question, "response_key": key, "num": float(num)})

    for name in ("preference", "safer"):
        if name in value:
            add(name, winner_number(value[name]))
    preference = value.get("preference")
    if preference and preference.get("strength") is not None:
        sign = -1 if preference["winner"] == "r0" else 1
        add("strength", sign * preference["strength"])
    elif preference and preference["winner"] is None and preference.get("outcome") == "tie":
        add("strength", 0)
    for key, rank in value.get("ranking", {}).get("ranks", {}).items():
        add("ranking", rank, key)
    for key, grades in value.get("rating", {}).items():
        for dimension, grade in grades.items():
            add(f"rating.{dimension}"[:64], grade, key)
    for key, up in value.get("thumbs", {}).items():
        add("thumbs", up, key)
    for key, one in value.get("safety", {}).items():
        add("safe", one["is_safe"], key)
        if one.get("severity") is not None:
            add("severity", one["severity"], key)
        for harm in one["harms"]:
            add(f"harm.{harm}"[:64], 1, key)
    if "confidence" in value:
        add("confidence", value["confidence"])
    return rows


def winner_number(said: Mapping[str, Any]) -> int:
    """The winner's number, TIE or BOTH_BAD."""
    if said["winner"] is not None:
        return int(said["winner"][1:])
    return BOTH_BAD if said.get("outcome") == "both_bad" else TIE


def verdicts(questions: Questions, value: Value) -> dict[str, Verdict]:
    """What must agree between labellers, question by question: not reasons, confidence or strength."""
    found: dict[str, Verdict] = {}
    for name in ("preference", "safer"):
        if name in value:
            found[name] = (winner_number(value[name]),)
    if "ranking" in value:
        found["ranking"] = tuple(rank for _, rank in sorted(value["ranking"]["ranks"].items()))
    if "thumbs" in value:
        found["thumbs"] = tuple(up for _, up in sorted(value["thumbs"].items()))
    if "safety" in value:
        found["safety"] = tuple(one["is_safe"] for _, one in sorted(value["safety"].items()))
    return {name: verdict for name, verdict in found.items() if name == "safer" or name in questions.asked()}


def disagree(questions: Questions, values: Sequence[Value]) -> bool:
    """Whether people came to different verdicts; grades differ if they are further apart than one."""
    said = [verdicts(questions, value) for value in values]
    if any(len({one[name] for one in said if name in one}) > 1 for name in {name for one in said for name in one}):
        return True
    grades: dict[tuple[str, str], list[int]] = {}
    for value in values:
        for key, given in value.get("rating", {}).items():
            for dimension, grade in given.items():
                grades.setdefault((key, dimension), []).append(grade)
    return any(max(given) - min(given) > 1 for given in grades.values())


def matches(expected: Value, value: Value, tolerance: Mapping[str, int] = MappingProxyType({})) -> bool:
    """Whether an answer says all that is expected; what is not named is free.

    tolerance: by how much a grade may differ, by what it is called in `annotation_value`: strength, ranking,
    rating.DIMENSION, severity, confidence.  Ranks of n responses differ by n - 2 at the most: by n - 1 all are right.
    """
    return all(_within(said, value.get(name), (name,), tolerance) for name, said in expected.items())


def _within(expected: Any, said: Any, path: tuple[str, ...], tolerance: Mapping[str, int]) -> bool:
    if isinstance(expected, dict):
        if not isinstance(said, dict):
            return False
        if path == ("ranking", "ranks"):
            tolerance = {"ranking": min(tolerance.get("ranking", 0), len(expected) - 2)}
        return all(_within(part, said.get(key), (*path, key), tolerance) for key, part in expected.items())
    if isinstance(expected, list) and isinstance(said, list):
        return sorted(map(str, expected)) == sorted(map(str, said))
    if type(expected) is type(said) is int:
        return abs(expected - said) <= tolerance.get(_grade_name(path), 0)
    return expected == said


def _grade_name(path: tuple[str, ...]) -> str:
    """What the number at a place in an answer is called in `annotation_value`."""
    if path[0] == "ranking":
        return "ranking"
    return f"rating.{path[-1]}" if path[0] == "rating" else path[-1]
