"""From a form's fields to an answer, so that labelling works without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import FormData

from heedful.labelling.questions import OUTCOMES, Questions, Value, competition_ranks


def answer_of(questions: Questions, keys: Sequence[str], form: FormData) -> Value:
    """The answer that a form gives; what was left open is missing, for `questions.check` to say."""
    value: Value = {}
    if questions.preference is not None and form.get("preference"):
        winner, _, strength = str(form["preference"]).partition(":")
        if winner in OUTCOMES:
            value["preference"] = {"winner": None, "outcome": winner}
        else:
            value["preference"] = {
                "winner": winner,
                **({} if whole(strength) is None else {"strength": whole(strength)}),
            }
    if questions.ranking is not None:
        given = {key: _number(form, f"rank:{key}") for key in keys}
        if any(rank is not None for rank in given.values()):
            ranks = {key: rank if rank is not None else len(keys) for key, rank in given.items()}
            value["ranking"] = {"ranks": competition_ranks(ranks)}
            if any(rank is None for rank in given.values()):
                del value["ranking"]
    if questions.rating is not None:
        grades = {key: {n: _number(form, f"rating:{key}:{n}") for n in questions.rating.dimensions} for key in keys}
        if any(grade is not None for given in grades.values() for grade in given.values()):
            value["rating"] = {key: {n: g for n, g in given.items() if g is not None} for key, given in grades.items()}
    if questions.thumbs is not None:
        thumbs = {key: form.get(f"thumbs:{key}") for key in keys}
        if any(thumbs.values()):
            value["thumbs"] = {key: said == "up" for key, said in thumbs.items() if said}
    if questions.safety is not None:
        value |= _safety(questions, keys, form)
    if questions.rationale is not None and str(form.get("rationale") or "").strip():
        value["rationale"] = str(form["rationale"]).strip()
    if questions.confidence is not None and _number(form, "confidence") is not None:
        value["confidence"] = _number(form, "confidence")
    return value


def _safety(questions: Questions, keys: Sequence[str], form: FormData) -> Value:
    safety = questions.safety
    assert safety is not None
    judged: dict[str, Any] = {}
    for key in keys:
        said = form.get(f"safe:{key}")
        if said:
            one: dict[str, Any] = {"is_safe": said == "safe", "harms": []}
            if said != "safe":
                one["harms"] = [str(harm) for harm in form.getlist(f"harm:{key}")]
            if safety.severity:
                one["severity"] = 0 if said == "safe" else _number(form, f"severity:{key}")
            judged[key] = one
    value: Value = {"safety": judged} if judged else {}
    if safety.safer and form.get("safer"):
        value["safer"] = {"winner": None if form["safer"] == "tie" else str(form["safer"])}
    return value


def _number(form: FormData, name: str) -> int | None:
    text = form.get(name)
    return whole(text) if isinstance(text, str) else None


def whole(text: str) -> int | None:
    """The whole number of a field, if that is what somebody wrote."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
