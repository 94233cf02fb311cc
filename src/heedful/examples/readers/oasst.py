"""OpenAssistant conversations (OASST1): flat rows of messages that form trees, with ranked answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from heedful.examples.conversation import ROLES, RowError
from heedful.examples.readers.reader import Asked, Reader, at, in_files_only, integer, lacks, name, text
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import Example, Message, Response


def _gather(rows: Iterable[OriginRow], asked: Asked, *, language: str | None = None) -> Iterator[Example | Dropped]:
    """Each ranked answer against the next better answer to the same message; the best of all is only ever better.

    A rank counts from 0, the best, and is no score: it becomes `Response.rank`, not a reward.
    """
    messages: dict[str, OriginRow] = {}
    for origin, row in rows:
        if language is not None and row.get("lang") != language:
            yield Dropped(origin, f"its language is not {language!r}")
            continue
        with at(origin):
            messages[text(row, "message_id")] = (origin, row)
    ranked = {}
    for origin, row in messages.values():
        with at(origin):
            if (place := _place(row)) is not None:
                ranked.setdefault(place, row)
    for origin, row in messages.values():
        with at(origin):
            found = _pair(row, origin, messages, ranked)
        if found is not None:
            yield found


def _place(row: Row) -> tuple[str, int] | None:
    """(the message it answers, its rank) of a ranked answer."""
    rank, parent = integer(row, "rank"), name(row, "parent_id")
    return None if rank is None or parent is None or text(row, "role") != "assistant" else (parent, rank)


def _pair(
    row: Row, origin: str, messages: dict[str, OriginRow], ranked: dict[tuple[str, int], Row]
) -> Example | Dropped | None:
    """An answer against the next better one; None for prompts and for the best answers."""
    if text(row, "role") != "assistant":
        return None
    place = _place(row)
    if place is None:
        return Dropped(origin, "an answer that nobody ranked")
    parent, rank = place
    if rank == 0:
        return None
    better = ranked.get((parent, rank - 1))
    if better is None:
        return Dropped(origin, "its next better answer is not there")
    prompt = _path(parent, messages)
    if prompt is None:
        return Dropped(origin, "a message before it is not there")
    responses = [Response([_message(answer)], rank=place + 1) for answer, place in ((better, rank - 1), (row, rank))]
    return Example(prompt, responses, better=0, id=name(row, "message_id"), source=name(row, "lang"), origin=origin)


def _path(message_id: str | None, messages: dict[str, OriginRow]) -> list[Message] | None:
    """The conversation from its root to a message; None if a part of it is missing."""
    path: list[Message] = []
    seen: set[str] = set()
    while message_id is not None:
        if message_id not in messages:
            return None
        if message_id in seen:
            raise RowError(f"message {message_id!r} answers itself")
        seen.add(message_id)
        row = messages[message_id][1]
        path.append(_message(row))
        message_id = name(row, "parent_id")
    return path[::-1]


def _message(row: Row) -> Message:
    role = text(row, "role")
    if role not in ROLES:
        raise RowError(f"column 'role' must be prompter or assistant, not {role!r}")
    return Message(ROLES[role], text(row, "text"))


COLUMNS = ("message_id", "parent_id", "role", "text", "rank")
OASST = Reader(
    "oasst",
    "OpenAssistant: message_id, parent_id, role, text, rank; each answer against the next better one",
    lambda row: lacks(row, *COLUMNS),
    in_files_only("oasst"),
    gather=_gather,
)
OASST_EN = Reader(
    "oasst-en",
    "as oasst, of the English messages",
    lambda row: "it reads only where it is named",
    in_files_only("oasst-en"),
    gather=partial(_gather, language="en"),
)
