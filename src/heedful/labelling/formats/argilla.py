"""Argilla v2: records as its SDK writes them, with every labeller's answer, and the data set's settings.

Out: fields `prompt`, `r0`, `r1` …; each of our questions as one or several of Argilla's.  In: any data set whose prompt
and responses can be told apart, and the answers to questions that name responses or are named as ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from heedful.labelling.consensus import Decided
from heedful.labelling.new_items import Given, NewItem, NewResponse, response_keys
from heedful.labelling.projects import Project
from heedful.labelling.questions import SEVERITIES, Value, competition_ranks
from heedful.types import TEXT, Message, UserError

Row = dict[str, Any]
PROMPTS = ("prompt", "instruction", "input", "question", "context", "conversation")
RESPONSES = re.compile(r"(r\d+|(response|answer|completion|output|generation|text)[-_ ]?\w*|chosen|rejected)", re.I)
PREFERENCES = ("tie", "both_bad")
TIES_LOST = (
    "ranking ties cannot be recovered from what Argilla's SDK exports: a list says an order where the server may hold "
    "equal ranks"
)


def rows(items: Sequence[Decided]) -> list[Row]:
    """Records.  A field with several turns in any of them is a chat in all."""
    chats = chat_fields(items)
    return [_row(one, chats) for one in items]


def chat_fields(items: Sequence[Decided]) -> set[str]:
    """The fields that hold conversations."""
    return {name for one in items for name, turns in _fields(one) if not _is_text(name, turns)}


def _is_text(name: str, turns: Sequence[Mapping[str, str]]) -> bool:
    """Whether the bare text says everything: one turn, by whoever is expected."""
    return len(turns) == 1 and turns[0]["role"] in ("user" if name == "prompt" else "assistant", TEXT)


def _fields(one: Decided) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every field's name and turns; a response that stands alone has no prompt."""
    if one.prompt:
        yield "prompt", one.prompt
    yield from ((r.key, r.content) for r in one.responses)


def _row(one: Decided, chats: set[str]) -> Row:
    fields: Row = {
        name: [{**turn} for turn in turns] if name in chats else turns[0]["content"] for name, turns in _fields(one)
    }
    responses: dict[str, list[Row]] = {}
    for answer in one.answers:
        for question, value in _spread(answer.value).items():
            responses.setdefault(question, []).append({"value": value, "user_id": answer.labeller})
    metadata = {f"{r.key}_source": r.source for r in one.responses if r.source is not None}
    status = "completed" if one.answers else "pending"
    return {
        "id": one.external_id,
        "fields": fields,
        "metadata": {"group": one.group, **metadata},
        "suggestions": {},
        "responses": responses,
        "vectors": {},
        "status": status,
    }


def files(found: Project, items: Sequence[Decided]) -> dict[str, str]:
    """`settings.json`: fields, questions and guidelines, as `rg.Settings.from_json` reads them."""
    return {"settings.json": json.dumps(settings(found, items), indent=1) + "\n"}


def settings(found: Project, items: Sequence[Decided]) -> Row:
    """The data set's settings, for as many responses as the items have."""
    keys = response_keys(max((len(one.responses) for one in items), default=2))
    chats = chat_fields(items)
    there = [{name for name, _ in _fields(one)} for one in items]
    everywhere = set.intersection(*there) if there else {"prompt", *keys}
    asked = found.questions
    questions: list[Row] = []

    def add(name: str, title: str, required: bool, **kind: Any) -> None:
        questions.append({"name": name, "title": title or name, "required": required, "settings": kind})

    if asked.preference is not None:
        values = [*keys, *(name for name in PREFERENCES if getattr(asked.preference, name))]
        add(
            "preference", asked.preference.title, asked.preference.required, type="label_selection", options=_of(values)
        )
        if asked.preference.strength > 1:
            add("strength", "How much better?", False, type="rating", options=_of(range(asked.preference.strength + 1)))
    if asked.ranking is not None:
        add("ranking", asked.ranking.title, asked.ranking.required, type="ranking", options=_of(keys))
    for key in keys:
        for name, scale in (asked.rating.dimensions if asked.rating else {}).items():
            add(
                f"rating-{name}-{key}",
                f"{name}: {key}",
                True,
                type="rating",
                options=_of(range(scale.low, scale.high + 1)),
            )
        if asked.thumbs is not None:
            add(f"thumbs-{key}", f"Is {key} good?", True, type="label_selection", options=_of(["up", "down"]))
        if asked.safety is not None:
            add(f"safe-{key}", f"Is {key} safe?", True, type="label_selection", options=_of(["safe", "unsafe"]))
            harms = _of(asked.safety.harms)
            add(f"harms-{key}", f"Harms of {key}", False, type="multi_label_selection", options=harms)
            if asked.safety.severity:
                grades = _of(range(len(SEVERITIES)))
                add(f"severity-{key}", f"Severity of {key}", False, type="rating", options=grades)
    if asked.safety is not None and asked.safety.safer:
        add("safer", "Which is safer?", True, type="label_selection", options=_of([*keys, "tie"]))
    if asked.rationale is not None:
        add("rationale", asked.rationale.title, asked.rationale.required, type="text", use_markdown=False)
    if asked.confidence is not None:
        add(
            "confidence",
            asked.confidence.title,
            False,
            type="rating",
            options=_of(range(1, asked.confidence.levels + 1)),
        )
    fields = [
        {
            "name": name,
            "title": name,
            "required": name in everywhere,
            "settings": {"type": "chat" if name in chats else "text", "use_markdown": True},
        }
        for name in ("prompt", *keys)
    ]
    return {
        "guidelines": found.guidelines or None,
        "allow_extra_metadata": True,
        "fields": fields,
        "questions": questions,
    }


def _of(values: Any) -> list[Row]:
    return [{"value": value, "text": str(value)} for value in values]


def _spread(value: Value) -> dict[str, Any]:
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
    """The inverse of `_spread`, for answers to questions named as ours."""
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


def item_of(origin: str, row: Row, warn: Callable[[str], None] = lambda line: None) -> NewItem:
    """An item with its answers from a record: nested as the SDK writes it, or flat as data sets on the hub hold it.

    Raises UserError for a record without fields that look like responses.
    """
    record = nested(row)
    fields = record.get("fields")
    if not isinstance(fields, Mapping):
        raise UserError("no Argilla record: it has no fields")
    names = list(fields)
    prompt = next((name for name in names if name.lower() in PROMPTS), None)
    answers = [name for name in names if name != prompt and RESPONSES.fullmatch(name) and fields[name]]
    if not answers:
        raise UserError(f"no field looks like a response ({', '.join(names)}); name them r0, r1, …")
    keys = {name: f"r{index}" for index, name in enumerate(answers)}
    metadata = dict(record.get("metadata") or {})
    responses = [
        NewResponse(_messages(fields[name], "assistant"), metadata.pop(f"{name}_source", None)) for name in answers
    ]
    ranked = any(
        isinstance(one.get("value"), list) and one["value"] and set(map(str, one["value"])) <= set(answers)
        for given in (record.get("responses") or {}).values()
        for one in given
        if isinstance(one, Mapping)
    )
    if ranked:
        warn(TIES_LOST)
    said = list(_given(record, keys))
    first = _messages(fields[prompt], "user") if prompt else []
    identity = str(record["id"]) if record.get("id") is not None else None
    return NewItem(first, responses, identity, meta=metadata, answers=said, origin=origin)


def nested(row: Row) -> Row:
    """A record of a data set on the hub, in the form of the SDK.

    Argilla 1 wrote a column a field and a column a question with lists of {user_id, value, status}; Argilla 2 writes
    `QUESTION.responses` with `.users` and `.status` beside it.
    """
    if "fields" in row:
        return row
    responses: dict[str, list[Row]] = {}
    fields, metadata = {}, {}
    for name, value in row.items():
        question, _, part = name.partition(".responses")
        if part == "" and name.endswith(".responses"):
            users = row.get(f"{question}.responses.users") or [None] * len(value or [])
            states = row.get(f"{question}.responses.status") or [None] * len(value or [])
            given = zip(value or [], users, states, strict=True)
            responses[question] = [{"value": v, "user_id": u, "status": s} for v, u, s in given]
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "status" in one for one in value):
            responses[name] = [dict(one) for one in value]
        elif name == "metadata":
            metadata = _decoded(value)
        elif (
            name in ("id", "external_id", "_server_id", "status", "vectors")
            or "." in name
            or name.endswith(("-suggestion", "-suggestion-metadata"))
            or value is None
            or value == []
        ):
            continue
        elif isinstance(value, str | list):
            fields[name] = value
    identity = row.get("id") or row.get("external_id")
    return {"id": identity, "fields": fields, "responses": responses, "metadata": metadata}


def _decoded(value: Any) -> Row:
    """Metadata, which Argilla 1 wrote as JSON in a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _given(record: Row, keys: Mapping[str, str]) -> Iterator[Given]:
    """Everybody's answers: the questions of one record turned round."""
    by_user: dict[str, dict[str, Any]] = {}
    discarded: set[str] = set()
    for question, given in (record.get("responses") or {}).items():
        for one in given if isinstance(given, list) else []:
            who = str(one.get("user_id") or "argilla")
            if one.get("status") == "discarded":
                discarded.add(who)
            elif one.get("status") != "draft":
                by_user.setdefault(who, {})[question] = one.get("value")
    for who in sorted({*by_user, *discarded}):
        out = _renamed(by_user.get(who, {}), keys)
        yield Given(who, None if who in discarded else gathered(out, list(keys.values())))


def _renamed(out: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Questions of other people's data sets as ours: a label that names a response prefers, a list of them ranks."""
    renamed: dict[str, Any] = {}
    for name, said in out.items():
        known = re.fullmatch(
            r"(rating|thumbs|safe|harms|severity)-.+|preference|strength|ranking|safer|rationale|confidence", name
        )
        if isinstance(said, str) and said in keys:
            renamed["safer" if name == "safer" else "preference"] = keys[said]
        elif isinstance(said, list) and said and all(_names(one) in keys for one in said):
            named = [{**one, "value": keys[one["value"]]} if isinstance(one, Mapping) else keys[one] for one in said]
            renamed["ranking"] = named
        elif known:
            renamed[name] = said
    return renamed


def _names(one: Any) -> Any:
    return one.get("value") if isinstance(one, Mapping) else one


def _messages(content: Any, role: str) -> list[Message]:
    if isinstance(content, list):
        return [Message(str(turn["role"]), str(turn["content"])) for turn in content]
    return [Message(role, str(content))]
