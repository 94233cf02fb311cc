"""Turns: from what people store to `Message`s, and the common prompt of two dialogues or two texts."""

from __future__ import annotations

import re
from typing import Any

from heedful.types import TEXT, Message


class RowError(ValueError):
    """A malformed row: the reader stops, and the message gets the file and line in front."""


class SkipRow(ValueError):
    """A well-formed row that holds no example; it is counted under its reason and reading goes on."""


ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    TEXT: TEXT,
}

ANSWER_MARKS = re.compile(
    r"\n\nAssistant:|\bASSISTANT:|### ?(?:Assistant|Response):|<\|assistant\|>|<\|im_start\|>assistant\n|\[/INST\]"
    r"|<start_of_turn>model\n|<\|start_header_id\|>assistant<\|end_header_id\|>\n\n|\nA:|\nAnswer:|\nTL;DR:"
)
"""Where an answer begins in dialogues that were written as one text."""


def is_conversation(value: Any) -> bool:
    """Whether a cell holds turns ({role, content}, or {from, value}) rather than text."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def to_messages(value: Any, column: str, *, text_role: str = TEXT) -> list[Message]:
    """A cell as messages: a text becomes one message of `text_role`, a list of turns one message each.

    Raises RowError for anything else; SkipRow for turns that a text model cannot read (images, tool calls).
    """
    if isinstance(value, str):
        return [Message(text_role, value)]
    if not isinstance(value, list):
        raise RowError(f"column {column!r} must be a text or a list of turns, not {kind(value)}")
    return [_message(turn, f"{column}[{index}]") for index, turn in enumerate(value)]


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError(f"{where} must be a turn with 'role' and 'content', not {kind(turn)}")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        raise RowError(f"{where} has the role {role!r}; known roles are {', '.join(ROLES)}")
    if turn.get("tool_calls"):
        raise SkipRow("a turn calls a tool, and tool calls are not text")
    if isinstance(content, list):
        content = _text_parts(content, where)
    if not isinstance(content, str):
        raise RowError(f"{where} needs a text as its 'content', not {kind(content)}")
    trained = turn.get("trained", turn.get("weight"))
    return Message(ROLES[role], content, trained is None or bool(trained))


def _text_parts(parts: list[Any], where: str) -> str:
    if not all(isinstance(part, dict) and part.get("type", "text") == "text" for part in parts):
        raise SkipRow("a turn holds parts that are not text (an image, a sound)")
    if not all(isinstance(part.get("text"), str) for part in parts):
        raise RowError(f"{where} has a part without its 'text'")
    return "".join(part["text"] for part in parts)


def kind(value: Any) -> str:
    """What a cell holds, in words, for an error."""
    if value is None:
        return "nothing (null)"
    names = {"str": "a text", "list": "a list", "dict": "a mapping", "bool": "a yes/no", "int": "a number"}
    return names.get(type(value).__name__, "a number" if isinstance(value, float) else type(value).__name__)


def merge_same_speaker(messages: list[Message]) -> list[Message]:
    """Consecutive turns of one role joined by a blank line: templates want speakers to alternate."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = Message(message.role, f"{merged[-1].content}\n\n{message.content}".strip(), message.trained)
        else:
            merged.append(message)
    return merged


def split_dialogues(first: list[Message], second: list[Message]) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, first's response, second's response) of two dialogues that begin alike.

    The prompt is everything up to the last assistant turn whose whole past both share.  Dialogues that part earlier
    than their last turn keep several turns in each response.  Raises SkipRow if they part before the first answer.
    """
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    for cut in range(min(shared, len(first) - 1, len(second) - 1), -1, -1):
        if first[cut].role == second[cut].role == "assistant":
            return first[:cut], first[cut:], second[cut:]
    raise SkipRow("the two dialogues part before their first answer, so they share no prompt")


def split_texts(first: str, second: str) -> tuple[str, str, str]:
    """(prompt, first's response, second's response) of two texts that begin alike; neither response is empty
    unless its text is.

    The prompt ends with the last mark of an answer both share (`\\n\\nAssistant:` and kin); else where the last
    common word ends: a space before the first differing word stays with the responses, a line break with the prompt.
    """
    unequal = (index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    shared = next(unequal, min(len(first), len(second)))
    limit = min(shared, len(first) - 1, len(second) - 1)
    marks = [mark.end() for mark in ANSWER_MARKS.finditer(first[:shared]) if mark.end() <= limit]
    cut = marks[-1] if marks else max(limit, 0)
    while not marks and cut > 0 and not _words_end(first, second, cut):
        cut -= 1
    return first[:cut], first[cut:], second[cut:]


def _words_end(first: str, second: str, at: int) -> bool:
    """Whether a cut at `at` leaves the words of both texts whole, with the space before a word on its right."""
    before = first[at - 1]
    return before == "\n" or (not before.isspace() and first[at].isspace() and second[at].isspace())
