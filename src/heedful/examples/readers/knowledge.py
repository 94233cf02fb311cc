"""Dialogues grounded in a piece of knowledge: Wizard of Wikipedia and FaithDial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from heedful.examples.conversation import RowError, kind
from heedful.examples.readers.lol import KNOWLEDGE, dialogue
from heedful.examples.readers.reader import Asked, Reader, at, in_files_only, items, lacks, name, others, text
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import Example, Message, Response

# Wizard of Wikipedia: {"chosen_topic", "dialog": [{"speaker", "text", "checked_sentence": {source: sentence}}]}

NO_PASSAGE = "no_passages_used"
SPEAKERS = {"Wizard": "assistant", "Apprentice": "user"}


def _wizard(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    """Every answer of a wizard that rests on a checked sentence and answers something.

    Answers that rest on none are left out as answers and stay in the history of those that follow (the published
    preparation leaves some of them out of both).
    """
    for origin, row in rows:
        with at(origin):
            turns = [_turn(turn, index) for index, turn in enumerate(items(row, "dialog"))]
        for index, (turn, knowledge) in enumerate(turns):
            if turn.role != "assistant":
                continue
            where = f"{origin}, turn {index}"
            if index == 0:
                yield Dropped(where, "the wizard speaks first")
            elif knowledge is None:
                yield Dropped(where, "the wizard used no passage")
            else:
                prompt = [Message("system", f"{KNOWLEDGE} {knowledge}"), *(said for said, _ in turns[:index])]
                topic = name(row, "chosen_topic")
                yield Example(prompt, [Response([turn])], source=topic, origin=where, extra={"knowledge": knowledge})


def _turn(turn: Any, index: int) -> tuple[Message, str | None]:
    """(what was said, the checked sentence it rests on if there is one)."""
    if not isinstance(turn, dict):
        raise RowError(f"dialog[{index}] must be a mapping with 'speaker' and 'text', not {kind(turn)}")
    speaker = text(turn, "speaker").rpartition("_")[2]
    if speaker not in SPEAKERS:
        raise RowError(f"dialog[{index}] has the speaker {turn['speaker']!r}; known are Wizard and Apprentice")
    checked = turn.get("checked_sentence") or {}
    sentence = next(iter(checked.values()), None) if isinstance(checked, dict) else None
    used = isinstance(sentence, str) and sentence.strip() and sentence != NO_PASSAGE
    return Message(SPEAKERS[speaker], text(turn, "text").strip()), str(sentence).strip() if used else None


# FaithDial: {"dialog_idx", "utterances": [{"history", "knowledge", "response", ...}]}, or one such utterance a row

UTTERANCE = ("history", "knowledge", "response")


def _faithdial(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    for origin, row in rows:
        with at(origin):
            utterances = items(row, "utterances") if "utterances" in row else [row]
            answers = [_utterance(utterance, row, origin) for utterance in utterances]
        yield from answers


def _utterance(utterance: Any, row: Row, origin: str) -> Example:
    if not isinstance(utterance, dict):
        raise RowError(f"'utterances' must be mappings, not {kind(utterance)}")
    history, knowledge = items(utterance, "history"), text(utterance, "knowledge").strip()
    if not history or not all(isinstance(said, str) for said in history):
        raise RowError("'history' must be a list of texts, and not empty")
    return Example(
        dialogue([said.strip() for said in history], knowledge),
        [Response([Message("assistant", text(utterance, "response").strip())])],
        id=name(row, "dialog_idx"),
        origin=origin,
        extra={"knowledge": knowledge, **others(utterance, (*UTTERANCE, "dialog_idx"))},
    )


def _faithdial_declines(row: Row) -> str | None:
    return None if isinstance(row.get("utterances"), list) else lacks(row, *UTTERANCE)


WIZARD = Reader(
    "wizard-of-wikipedia",
    "Wizard of Wikipedia: dialog of Wizard and Apprentice with checked_sentence",
    lambda row: lacks(row, "dialog", "chosen_topic"),
    in_files_only("wizard-of-wikipedia"),
    gather=_wizard,
)
FAITHDIAL = Reader(
    "faithdial",
    "FaithDial: utterances, or rows, of history, knowledge, response",
    _faithdial_declines,
    in_files_only("faithdial"),
    gather=_faithdial,
)
