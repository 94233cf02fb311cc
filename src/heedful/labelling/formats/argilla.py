"""Argilla v2: records as its SDK writes them, with every labeller's answer, and the data set's settings.

Out: fields `prompt`, `r0`, `r1` …; each of our questions as one or several of Argilla's.  In: any data set whose prompt
and responses can be told apart, and the answers to questions that name responses or are named as ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from heedful.labelling.accounts import username_of
from heedful.labelling.consensus import Decided
from heedful.labelling.formats.argilla_values import gathered, renamed, spread, suggested, suggestions_of
from heedful.labelling.new_items import Given, NewItem, NewResponse, response_keys, without_group, without_labels
from heedful.labelling.projects import Project
from heedful.labelling.questions import SEVERITIES, Questions
from heedful.types import TEXT, Message, UserError

Row = dict[str, Any]
PROMPTS = ("prompt", "instruction", "input", "question", "context", "conversation")
RESPONSES = re.compile(r"(r\d+|(response|answer|completion|output|generation|text)[-_ ]?\w*|chosen|rejected)", re.I)
PREFERENCES = ("tie", "both_bad")
TIES_LOST = (
    "ranking ties cannot be recovered from what Argilla's SDK exports: a list says an order where the server may hold "
    "equal ranks"
)


def rows(found: Project, items: Sequence[Decided]) -> list[Row]:
    """Records.  A field with several turns in any of them is a chat in all."""
    chats = chat_fields(items)
    keys = response_keys(max((len(one.responses) for one in items), default=1))
    asked = [question["name"] for question in questions_asked(found.questions, keys)]
    return [_row(found, one, chats, asked) for one in items]


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


def _row(found: Project, one: Decided, chats: set[str], asked: Sequence[str]) -> Row:
    """asked: the questions; at the first a discarded response, which answers none, is written.

    Suggestions go along where the project shows them: Argilla shows what it has.
    """
    fields: Row = {
        name: [{**turn} for turn in turns] if name in chats else turns[0]["content"] for name, turns in _fields(one)
    }
    responses: dict[str, list[Row]] = {}
    for answer in one.answers:
        for question, value in spread(answer.value).items():
            if question not in asked:  # a strength that cannot be chosen
                continue
            responses.setdefault(question, []).append({"value": value, "user_id": answer.labeller})
    for skip in one.beside.skips:
        responses.setdefault(asked[0], []).append({"value": None, "user_id": skip.labeller, "status": "discarded"})
    shown = one.beside.suggestions if found.settings.show_suggestions else ()
    suggestions = suggested(found.questions, one.keys, shown)
    metadata: Row = {f"{r.key}_source": r.source for r in one.responses if r.source is not None}
    if one.beside.skips:
        metadata["skips"] = [skip._asdict() for skip in one.beside.skips]
    status = "completed" if one.answers else "pending"
    return {
        "id": one.external_id,
        "fields": fields,
        "metadata": {**without_labels(one.meta), "group": one.group, **metadata},
        "suggestions": {name: said for name, said in suggestions.items() if name in asked},
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
        "questions": questions_asked(found.questions, keys),
    }


def questions_asked(asked: Questions, keys: Sequence[str]) -> list[Row]:
    """Argilla's questions, in its order, of responses that are called so."""
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
    return questions


def _of(values: Any) -> list[Row]:
    return [{"value": value, "text": str(value)} for value in values]


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
    said = list(_given(record, keys, _reasons(metadata)))
    first = _messages(fields[prompt], "user") if prompt else []
    identity = str(record["id"]) if record.get("id") is not None else None
    suggestions, scores = suggestions_of(record.get("suggestions") or {}, keys)
    beside = {"suggestions": suggestions, "scores": scores, "meta": without_group(metadata, first)}
    return NewItem(first, responses, identity, answers=said, origin=origin, **beside)


def _reasons(metadata: Row) -> dict[str, Row]:
    """Why each labeller discarded a record, as `_row` wrote it; taken out of the metadata."""
    skips = metadata.get("skips")
    if not isinstance(skips, list) or not all(isinstance(one, Mapping) and "labeller" in one for one in skips):
        return {}
    del metadata["skips"]
    return {one["labeller"]: {name: str(one.get(name) or "") for name in ("reason", "comment")} for one in skips}


def nested(row: Row) -> Row:
    """A record of a data set on the hub, in the form of the SDK.

    Argilla 1 wrote a column a field and a column a question with lists of {user_id, value, status}, and
    `QUESTION-suggestion` with `-metadata` beside it; Argilla 2 writes `QUESTION.responses` with `.users` and `.status`,
    and `QUESTION.suggestion` with `.score` and `.agent`.
    """
    if "fields" in row:
        return row
    responses: dict[str, list[Row]] = {}
    fields, metadata, suggestions = {}, {}, {}
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
        elif name.endswith("-suggestion"):
            question = name.removesuffix("-suggestion")
            suggestions[question] = {**_decoded(row.get(f"{name}-metadata")), "value": value}
        elif name.endswith(".suggestion"):
            question = name.removesuffix(".suggestion")
            suggestions[question] = {"value": value, **{part: row.get(f"{name}.{part}") for part in ("score", "agent")}}
        elif (
            name in ("id", "external_id", "_server_id", "status", "vectors")
            or "." in name
            or name.endswith("-suggestion-metadata")
            or value is None
            or value == []
        ):
            continue
        elif isinstance(value, str | list):
            fields[name] = value
    identity = row.get("id") or row.get("external_id")
    return {
        "id": identity,
        "fields": fields,
        "responses": responses,
        "metadata": metadata,
        "suggestions": suggestions,
    }


def _decoded(value: Any) -> Row:
    """Metadata, which Argilla 1 wrote as JSON in a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _given(record: Row, keys: Mapping[str, str], reasons: Mapping[str, Row]) -> Iterator[Given]:
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
        if who in discarded:
            yield Given(who, None, **reasons.get(username_of(who), {}))
        else:
            yield Given(who, gathered(renamed(by_user[who], keys), list(keys.values())))


def _messages(content: Any, role: str) -> list[Message]:
    if isinstance(content, list):
        return [Message(str(turn["role"]), str(turn["content"])) for turn in content]
    return [Message(role, str(content))]
