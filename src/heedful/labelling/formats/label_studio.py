"""Label Studio: tasks with annotations, and the configuration without which "left" and "right" say nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from heedful.labelling.consensus import Decided
from heedful.labelling.formats.argilla import PROMPTS, RESPONSES
from heedful.labelling.formats.argilla_values import ranks_of
from heedful.labelling.new_items import Given, NewItem, NewResponse, response_keys, without_group, without_labels
from heedful.labelling.projects import Project
from heedful.labelling.questions import SEVERITIES, Dimension, Questions, Value
from heedful.types import Message, UserError

Row = dict[str, Any]


def rows(found: Project, items: Sequence[Decided]) -> list[Row]:
    """Tasks, as `config` shows them."""
    return [_row(found.questions, one) for one in items]


def _row(questions: Questions, one: Decided) -> Row:
    data: Row = {"prompt": _plain(one.prompt)} | {r.key: _plain(r.content) for r in one.responses}
    if questions.ranking is not None:
        data["responses"] = [{"id": r.key, "body": data[r.key]} for r in one.responses]
    annotations: list[Row] = []

    def add(value: Value, *, who: str | None = None, **about: Any) -> None:
        by = {} if who is None else {"completed_by": {"email": who}}
        kind = {"was_cancelled": False, "ground_truth": False, **about}
        annotations.append({"id": len(annotations) + 1, **by, **kind, "result": _results(questions, value, one.keys)})

    for answer in one.answers:
        add(answer.value, who=answer.labeller, **_timed(answer.wall_ms))
    for skip in one.beside.skips:
        add({}, who=skip.labeller, was_cancelled=True, skip={"reason": skip.reason, "comment": skip.comment})
    if one.beside.gold is not None:
        why = {"explanation": one.beside.explanation} if one.beside.explanation else {}
        add(one.beside.gold, ground_truth=True, **why)
    sources = {f"{r.key}_source": r.source for r in one.responses if r.source is not None}
    return {
        "id": one.external_id,
        "data": data,
        "meta": {**without_labels(one.meta), "group": one.group, **sources},
        "annotations": annotations,
    }


def _timed(wall_ms: int | None) -> Row:
    return {} if wall_ms is None else {"lead_time": wall_ms / 1000}


def _results(questions: Questions, value: Value, keys: Sequence[str]) -> list[Row]:
    results: list[Row] = []
    scales = questions.rating.dimensions if questions.rating is not None else {}

    def add(name: str, to: str, kind: str, said: Row) -> None:
        results.append({"from_name": name, "to_name": to, "type": kind, "value": said})

    preference = value.get("preference")
    if preference is not None and preference["winner"] is not None:
        add(
            "preference",
            ",".join(keys[:2]),
            "pairwise",
            {"selected": ("left", "right")[keys.index(preference["winner"])]},
        )
    elif preference is not None:
        add("outcome", "prompt", "choices", {"choices": [preference.get("outcome", "tie")]})
    if preference is not None and preference.get("strength") is not None:
        add("strength", "prompt", "rating", {"rating": preference["strength"]})
    if "ranking" in value:
        ranks = value["ranking"]["ranks"]
        ordered = sorted(ranks, key=lambda key: (ranks[key], key))
        add("ranking", "responses", "ranker", {"ranker": {f"rank {rank}": [k for k in ordered if ranks[k] == rank]
                                                          for rank in sorted(set(ranks.values()))}})  # fmt: skip
    for key, grades in value.get("rating", {}).items():
        for name, grade in grades.items():
            kind = "rating" if name not in scales or _has_stars(scales[name]) else "number"
            add(f"rating-{name}-{key}", key, kind, {kind: grade})
    for key, up in value.get("thumbs", {}).items():
        add(f"thumbs-{key}", key, "choices", {"choices": ["up" if up else "down"]})
    for key, judged in value.get("safety", {}).items():
        add(f"safe-{key}", key, "choices", {"choices": ["safe" if judged["is_safe"] else "unsafe"]})
        if judged["harms"]:
            add(f"harms-{key}", key, "choices", {"choices": list(judged["harms"])})
        if judged.get("severity") is not None:
            add(f"severity-{key}", key, "choices", {"choices": [SEVERITIES[judged["severity"]]]})
    if "safer" in value:
        add("safer", "prompt", "choices", {"choices": [value["safer"]["winner"] or "tie"]})
    if "rationale" in value:
        add("rationale", "prompt", "textarea", {"text": [value["rationale"]]})
    if "confidence" in value:
        add("confidence", "prompt", "rating", {"rating": value["confidence"]})
    return results


def _has_stars(scale: Dimension) -> bool:
    """Whether grades are stars, which begin at one, and none is a nought; else they are numbers."""
    return scale.low in (0, 1)


def files(found: Project, items: Sequence[Decided]) -> dict[str, str]:
    """`config.xml`: the labelling configuration, for as many responses as the items have."""
    return {"config.xml": config(found, response_keys(max((len(one.responses) for one in items), default=2)))}


def config(found: Project, keys: Sequence[str] = ("r0", "r1")) -> str:
    """The configuration that the results speak of."""
    asked = found.questions
    lines = ['<Text name="prompt" value="$prompt"/>', *(f'<Text name="{key}" value="${key}"/>' for key in keys)]

    def choices(name: str, to: str, values: Sequence[str], choice: str = "single") -> None:
        inner = "".join(f"<Choice value={quoteattr(value)}/>" for value in values)
        lines.append(f'<Choices name="{name}" toName="{to}" choice="{choice}">{inner}</Choices>')

    if asked.preference is not None:
        lines.append(f'<Pairwise name="preference" toName="{",".join(keys[:2])}"/>')
        choices("outcome", "prompt", ["tie", "both_bad"])
        if asked.preference.strength > 1:
            lines.append(f'<Rating name="strength" toName="prompt" maxRating="{asked.preference.strength}"/>')
    if asked.ranking is not None:
        lines.append('<List name="responses" value="$responses"/>')
        buckets = "".join(f'<Bucket name="rank {rank}" title="{rank}"/>' for rank in range(1, len(keys) + 1))
        lines.append(f'<Ranker name="ranking" toName="responses">{buckets}</Ranker>')
    for key in keys:
        for name, scale in (asked.rating.dimensions if asked.rating else {}).items():
            about = f'name={quoteattr(f"rating-{name}-{key}")} toName="{key}"'
            if _has_stars(scale):
                lines.append(f'<Rating {about} maxRating="{scale.high}"/>')
            else:
                lines.append(f'<Number {about} min="{scale.low}" max="{scale.high}"/>')
        if asked.thumbs is not None:
            choices(f"thumbs-{key}", key, ["up", "down"])
        if asked.safety is not None:
            choices(f"safe-{key}", key, ["safe", "unsafe"])
            choices(f"harms-{key}", key, asked.safety.harms, "multiple")
            if asked.safety.severity:
                choices(f"severity-{key}", key, SEVERITIES)
    if asked.safety is not None and asked.safety.safer:
        choices("safer", "prompt", [*keys, "tie"])
    if asked.rationale is not None:
        lines.append('<TextArea name="rationale" toName="prompt"/>')
    if asked.confidence is not None:
        lines.append(f'<Rating name="confidence" toName="prompt" maxRating="{asked.confidence.levels}"/>')
    return "<View>\n" + "".join(f"  {line}\n" for line in lines) + "</View>\n"


def item_of(origin: str, task: Row) -> NewItem:
    """An item with its answers from a task.

    A pairwise "left" is the first of the names in `to_name`, "right" the second.
    Raises UserError for a task without data that looks like responses.
    """
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise UserError("no Label Studio task: it has no data")
    prompt = next((name for name in data if name.lower() in PROMPTS), None)
    names = [name for name in data if name != prompt and RESPONSES.fullmatch(name) and isinstance(data[name], str)]
    if not names:
        raise UserError(f"no part of data looks like a response ({', '.join(data)})")
    keys = {name: f"r{index}" for index, name in enumerate(names)}
    meta = dict(task.get("meta") or {})
    first = [Message("user", str(data[prompt]))] if prompt else []
    responses = [NewResponse([Message("assistant", data[name])], meta.pop(f"{name}_source", None)) for name in names]
    identity = str(task["id"]) if task.get("id") is not None else None
    item = NewItem(first, responses, identity, meta=without_group(meta, first), origin=origin)
    for one in task.get("annotations") or []:
        value = None if one.get("was_cancelled") else _value(one.get("result") or [], keys)
        if one.get("ground_truth") and value:
            item.gold, item.explanation = value, str(one.get("explanation") or "")
            continue
        lead = one.get("lead_time")
        given = Given(_who(one), value, None if lead is None else round(float(lead) * 1000))
        if value is None and isinstance(one.get("skip"), Mapping):  # as we write it
            given.reason, given.comment = (str(one["skip"].get(name) or "") for name in ("reason", "comment"))
        item.answers.append(given)
    return item


def _value(results: Sequence[Row], keys: Mapping[str, str]) -> Value:
    """An answer from results.  Objects (`to_name`) are responses by their name in the data or its last part."""
    value: Value = {}
    for one in results:
        kind, said, to = one.get("type"), one.get("value") or {}, str(one.get("to_name", ""))
        name = str(one.get("from_name", ""))
        key = _key(to, keys)
        if kind == "pairwise":
            both = [_key(part.strip(), keys) for part in to.split(",")]
            winner = both[("left", "right").index(said["selected"])] if len(both) == 2 else None
            if winner is not None:
                value["preference"] = {**value.get("preference", {}), "winner": winner}
        elif kind == "ranker":
            value["ranking"] = {"ranks": _ranks(said["ranker"], keys)}
        elif kind == "rating" and name == "strength":
            value.setdefault("preference", {})["strength"] = said["rating"]
        elif kind == "rating" and name == "confidence":
            value["confidence"] = said["rating"]
        elif kind in ("rating", "number") and key is not None:
            known = re.fullmatch(r"rating-(.+)-r\d+", name)
            value.setdefault("rating", {}).setdefault(key, {})[known[1] if known else name] = said[kind]
        elif kind == "choices":
            _choice(value, name, key, list(said.get("choices") or []), keys)
        elif kind == "textarea" and name == "rationale":
            value["rationale"] = "\n".join(said["text"])
    if "winner" not in value.get("preference", {"winner": None}):
        del value["preference"]
    return value


def _choice(value: Value, name: str, key: str | None, chosen: list[str], keys: Mapping[str, str]) -> None:
    if not chosen:
        return
    if name == "outcome":
        value["preference"] = {"winner": None, "outcome": chosen[0]}
    elif name == "safer":
        value["safer"] = {"winner": None if chosen[0] == "tie" else _key(chosen[0], keys)}
    elif key is None:
        return
    elif name.startswith("thumbs"):
        value.setdefault("thumbs", {})[key] = chosen[0] == "up"
    elif name.startswith("safe"):
        value.setdefault("safety", {}).setdefault(key, {"harms": []})["is_safe"] = chosen[0] == "safe"
    elif name.startswith("harms"):
        value.setdefault("safety", {}).setdefault(key, {})["harms"] = chosen
    elif name.startswith("severity") and chosen[0] in SEVERITIES:
        value.setdefault("safety", {}).setdefault(key, {"harms": []})["severity"] = SEVERITIES.index(chosen[0])


def _key(name: str, keys: Mapping[str, str]) -> str | None:
    """`a` is `response_a` where the data has no `a`."""
    if name in keys:
        return keys[name]
    ending = [key for known, key in keys.items() if known.endswith(f"_{name}")]
    return ending[0] if len(ending) == 1 else None


def _ranks(said: Any, keys: Mapping[str, str]) -> dict[str, int]:
    """A list in order, by itself or under a tag's name; or buckets, each of which is a rank."""
    if isinstance(said, list):
        return ranks_of([_key(str(name), keys) or name for name in said])
    buckets = list(said.values())
    if len(buckets) == 1 and not re.fullmatch(r"rank \d+", next(iter(said))):  # ours say that they are buckets
        return ranks_of([_key(str(name), keys) or name for name in buckets[0]])
    flat = [{"value": _key(str(name), keys) or name, "rank": place} for place, b in enumerate(buckets) for name in b]
    return ranks_of(flat)


def _who(one: Row) -> str:
    who = one.get("completed_by")
    return str(who.get("email", who.get("id")) if isinstance(who, Mapping) else who)


def _plain(turns: Sequence[Mapping[str, str]]) -> str:
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
