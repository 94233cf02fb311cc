"""What is to be judged, before it is in the database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import orjson

from heedful.labelling.projects import Project
from heedful.labelling.questions import check
from heedful.labelling.settings import MOST_PRIORITY
from heedful.types import Message


@dataclass(slots=True)
class NewResponse:
    """A response to judge.  source: where it is from, hidden while the project is blind."""

    messages: list[Message]
    source: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Given:
    """An answer that was given elsewhere.  value: None for somebody who passed the item over, by reason and comment."""

    username: str
    value: dict[str, Any] | None
    wall_ms: int | None = None
    at: float | None = None
    reason: str = "other"
    comment: str = "passed over elsewhere"


@dataclass(slots=True)
class NewItem:
    """An item to judge.

    external_id: its name in the data; None makes one of its content.  context: further texts that labellers see.
    gold: the parts of an answer that are known; then it is asked to find out who answers how well.
    suggestions: agent → value.  scores: agent → how sure it is.  answers: that people gave elsewhere.  origin: where it
    stands, for messages.
    """

    prompt: list[Message]
    responses: list[NewResponse]
    external_id: str | None = None
    context: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    priority: float = 0.0
    overlap: int | None = None
    gold: dict[str, Any] | None = None
    explanation: str = ""
    suggestions: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[Given] = field(default_factory=list)
    origin: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    def content(self) -> list[Any]:
        """What makes two items the same: prompt and responses."""
        return [turns(self.prompt), [turns(one.messages) for one in self.responses]]


DATA = "heedful:data"
"""In the meta of an item and of its responses: the labels that its data brought."""


def without_labels(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Meta without the labels that the data brought, which labellers should not see."""
    return {name: value for name, value in meta.items() if name != DATA}


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as they are stored."""
    return [{"role": message.role, "content": message.content} for message in messages]


def messages_of(stored: Sequence[Mapping[str, str]]) -> list[Message]:
    """What `turns` stored."""
    return [Message(turn["role"], turn["content"]) for turn in stored]


def digest(value: Any) -> str:
    """SHA-256 of a plain value."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def without_group(meta: dict[str, Any], prompt: Sequence[Message]) -> dict[str, Any]:
    """The meta of an item without the name of its group, which exports add and which is made of the prompt."""
    return {name: value for name, value in meta.items() if name != "group" or value != digest(turns(prompt))}


def response_keys(number: int) -> list[str]:
    """The names of an item's responses, in the order of the data."""
    return [f"r{index}" for index in range(number)]


def problem_of(found: Project, one: NewItem) -> str | None:
    """Why an item cannot be judged in a project, or None."""
    problem = found.questions.problem_with_item(len(one.responses))
    if problem:
        return problem
    if not isfinite(one.priority) or abs(one.priority) > MOST_PRIORITY:
        return f"priority must be a number of at most {MOST_PRIORITY:,}, not {one.priority:g}"
    if one.overlap is not None and (not isinstance(one.overlap, int) or isinstance(one.overlap, bool)):
        return f"overlap must be a whole number, not {one.overlap!r}"
    if any(not isinstance(response.source, str | None) for response in one.responses):
        return "the source of a response is a text"
    try:
        orjson.dumps([one.content(), one.external_id, one.context, one.meta, [r.meta for r in one.responses]])
        orjson.dumps([one.gold, one.suggestions, one.explanation, [r.source for r in one.responses]])
    except TypeError as wrong:
        return f"it holds what cannot be stored: {wrong}"
    if any(not isinstance(value, dict) for value in one.suggestions.values()):
        return "suggestions must be {AGENT: {QUESTION: ANSWER}}"
    if any(not response.messages or not response.messages[-1].content.strip() for response in one.responses):
        return "a response is empty"
    texts = {tuple((turn.role, turn.content) for turn in response.messages) for response in one.responses}
    if len(texts) < len(one.responses):
        return "two of its responses are the same"
    if one.overlap is not None and not 1 <= one.overlap <= 100:
        return f"overlap must be 1 to 100, not {one.overlap}"
    if one.gold is not None:
        unknown = set(one.gold) - {*found.questions.asked(), "safer"}
        if unknown or not one.gold:
            return f"gold names no question of the project: {', '.join(sorted(unknown)) or 'nothing'}"
        verdict = check(found.questions, response_keys(len(one.responses)), one.gold)
        wrong = {name: text for name, text in verdict.problems.items() if name in one.gold}
        if wrong:
            name, text = next(iter(wrong.items()))
            return f"gold.{name}: {text}"
    return None
