"""Answers as a form's fields, and in a labeller's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heedful.labelling.questions import SEVERITIES
from heedful.labelling.web import render
from heedful.labelling.work import FLAG_KINDS, SKIP_REASONS


def choices() -> dict[str, Any]:
    return {"severities": SEVERITIES, "skip_reasons": SKIP_REASONS, "flag_kinds": FLAG_KINDS}


def form_values(value: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as the form's fields: what is chosen in each."""
    fields: dict[str, Any] = {}
    preference = value.get("preference")
    if preference:
        strength = preference.get("strength")
        winner = preference.get("winner") or preference.get("outcome")
        fields["preference"] = f"{winner}:{strength}" if strength and preference.get("winner") else winner
    fields |= {f"rank:{key}": str(rank) for key, rank in (value.get("ranking") or {}).get("ranks", {}).items()}
    for key, grades in (value.get("rating") or {}).items():
        fields |= {f"rating:{key}:{name}": str(grade) for name, grade in grades.items()}
    fields |= {f"thumbs:{key}": "up" if up else "down" for key, up in (value.get("thumbs") or {}).items()}
    for key, one in (value.get("safety") or {}).items():
        fields[f"safe:{key}"] = "safe" if one.get("is_safe") else "unsafe"
        fields[f"harm:{key}"] = list(one.get("harms") or [])
        fields[f"severity:{key}"] = str(one.get("severity"))
    if value.get("safer"):
        fields["safer"] = value["safer"].get("winner") or "tie"
    fields["rationale"] = value.get("rationale", "")
    fields["confidence"] = str(value.get("confidence", ""))
    return fields


def in_words(value: Mapping[str, Any], shown: list[str]) -> list[str]:
    """An answer as its labeller saw it: responses by their letters."""
    names = {key: render.letter(place) for place, key in enumerate(shown)}
    words = []
    preference = value.get("preference")
    if preference:
        outcome = {"tie": "tie", "both_bad": "both bad"}.get(preference.get("outcome", "tie"), "tie")
        strength = f" by {preference['strength']}" if preference.get("strength") else ""
        words.append(f"{names[preference['winner']]} is better{strength}" if preference["winner"] else outcome)
    if value.get("ranking"):
        ranks = value["ranking"]["ranks"]
        words.append(", ".join(f"{names[key]}: {ranks[key]}" for key in shown))
    for key in shown:
        words += [f"{names[key]} {name} {grade}" for name, grade in value.get("rating", {}).get(key, {}).items()]
        if key in value.get("thumbs", {}):
            words.append(f"{names[key]} {'good' if value['thumbs'][key] else 'bad'}")
        if key in value.get("safety", {}):
            one = value["safety"][key]
            words.append(f"{names[key]} {'safe' if one['is_safe'] else 'unsafe: ' + ', '.join(one['harms'])}")
    if value.get("safer"):
        words.append(f"{names[value['safer']['winner']]} is safer" if value["safer"]["winner"] else "equally safe")
    if value.get("rationale"):
        words.append(f"“{value['rationale'][:120]}”")
    return words


def scores_in_words(value: Any, shown: list[str]) -> str:
    """The scores that a model gave to the responses that are shown, of what it gave, which nobody checked."""
    scores = value.get("scores") if isinstance(value, Mapping) else None
    if not isinstance(scores, Mapping):
        return ""
    given = [(render.letter(place), scores.get(key)) for place, key in enumerate(shown)]
    return ", ".join(f"{name} {score:.2f}" for name, score in given if type(score) in (int, float))
