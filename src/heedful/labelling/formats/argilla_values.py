"""Answers as answers to Argilla's questions, of which there are one or several for each of ours, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from heedful.labelling.beside import Suggested
from heedful.labelling.questions import Questions, Value, competition_ranks, well_formed

Row = dict[str, Any]


def spread(value: Value) -> dict[str, Any]:
    """An answer as answers to Argilla's questions.  Ranks are written with the value, since a list loses ties."""
    out: dict[str, Any] = {}
    if "preference" in value:
        said = value["preference"]
        out["preference"] = said["winner"] or said.get("outcome", "tie")
        if said.get("strength") is not None:
            out["strength"] = said["strength"]
    if "ranking" in value:
        ranks = value["ranking"]["ranks"]
        out["ranking"] = [{"value": key, "rank": ranks[key]} for key in sorted(ranks, key=lambda k: (ranks[k], k))]
    for key, grades in value.get("rating", {}).items():
        out |= {f"rating-{name}-{key}": grade for name, grade in grades.items()}
    out |= {f"thumbs-{key}": "up" if up else "down" for key, up in value.get("thumbs", {}).items()}
    for key, one in value.get("safety", {}).items():
        out[f"safe-{key}"] = "safe" if one["is_safe"] else "unsafe"
        if one["harms"]:
            out[f"harms-{key}"] = one["harms"]
        if one.get("severity") is not None:
            out[f"severity-{key}"] = one["severity"]
    if "safer" in value:
        out["safer"] = value["safer"]["winner"] or "tie"
    return out | {name: value[name] for name in ("rationale", "confidence") if name in value}


def gathered(out: Mapping[str, Any], keys: Sequence[str]) -> Value:
    """The inverse of `spread`, for answers to questions named as ours."""
    value: Value = {}
    if "preference" in out:
        said = out["preference"]
        value["preference"] = {"winner": said} if said in keys else {"winner": None, "outcome": said}
        if out.get("strength") is not None and said in keys:
            value["preference"]["strength"] = out["strength"]
    if "ranking" in out:
        value["ranking"] = {"ranks": ranks_of(out["ranking"])}
    for name, said in out.items():
        kind, _, rest = name.partition("-")
        if kind == "rating":
            dimension, _, key = rest.rpartition("-")
            value.setdefault("rating", {}).setdefault(key, {})[dimension] = said
        elif kind == "thumbs":
            value.setdefault("thumbs", {})[rest] = said == "up"
        elif kind == "safe":
            one = {"is_safe": said == "safe", "harms": list(out.get(f"harms-{rest}") or [])}
            if f"severity-{rest}" in out:
                one["severity"] = out[f"severity-{rest}"]
            value.setdefault("safety", {})[rest] = one
    if "safer" in out:
        value["safer"] = {"winner": None if out["safer"] == "tie" else out["safer"]}
    return value | {name: out[name] for name in ("rationale", "confidence") if out.get(name) is not None}


def ranks_of(said: Sequence[Any]) -> dict[str, int]:
    """Competition ranks from values with ranks, or from a list in order."""
    if all(isinstance(one, Mapping) for one in said):
        given = {str(one["value"]): one.get("rank", place) for place, one in enumerate(said, start=1)}
    else:
        given = {str(name): place for place, name in enumerate(said, start=1)}
    return competition_ranks(given)


def renamed(out: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Questions of other people's data sets as ours: a label that names a response prefers, a list of them ranks."""
    ours: dict[str, Any] = {}
    for name, said in out.items():
        known = re.fullmatch(
            r"(rating|thumbs|safe|harms|severity)-.+|preference|strength|ranking|safer|rationale|confidence", name
        )
        if isinstance(said, str) and said in keys:
            ours["safer" if name == "safer" else "preference"] = keys[said]
        elif isinstance(said, list) and said and all(_names(one) in keys for one in said):
            named = [{**one, "value": keys[one["value"]]} if isinstance(one, Mapping) else keys[one] for one in said]
            ours["ranking"] = named
        elif known:
            ours[name] = said
    return ours


def _names(one: Any) -> Any:
    return one.get("value") if isinstance(one, Mapping) else one


def suggested(questions: Questions, keys: Sequence[str], said: Sequence[Suggested]) -> Row:
    """Suggestions by Argilla's questions, each of which holds one: to each of ours the newest there is, whole."""
    found: Row = {}
    answered: set[str] = set()
    for one in said:
        parts = well_formed(questions, keys, one.value)
        for question, value in spread({name: parts[name] for name in parts if name not in answered}).items():
            found[question] = {"value": value, "score": one.score, "agent": one.agent}
        answered |= parts.keys()
    return found


def suggestions_of(
    record: Mapping[str, Any], keys: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """The inverse of `suggested`: what each agent says, and its score.  keys: a field's name → ours."""
    said: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}
    for question, one in record.items():
        if not isinstance(one, Mapping) or one.get("value") is None:
            continue
        agent = str(one.get("agent") or "argilla")[:128]
        said.setdefault(agent, {})[question] = one["value"]
        if isinstance(one.get("score"), int | float):  # of several labels there may be a list
            scores.setdefault(agent, float(one["score"]))
    values = {agent: gathered(renamed(given, keys), list(keys.values())) for agent, given in said.items()}
    return {agent: value for agent, value in values.items() if value}, scores
