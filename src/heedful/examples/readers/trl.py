"""TRL's data set formats, standard (texts) and conversational (lists of turns).

Standard texts become messages of the role `text`, rendered verbatim; turns keep their roles.
See https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from typing import Any

from heedful.examples.conversation import (
    RowError,
    SkipRow,
    is_conversation,
    split_dialogues,
    split_texts,
    to_messages,
)
from heedful.examples.readers.reader import NO_TEXT, Reader, cell, flag, lacks, name, number, others
from heedful.examples.rows import Row
from heedful.types import TEXT, Example, Message, Response

ROW_COLUMNS = ("id", "source", "weight")


def _example(row: Row, prompt: list[Message], responses: list[Response], used: tuple[str, ...]) -> Example:
    """A row's example; a column `weight` says how much each of its responses counts."""
    for response in responses:
        response.weight = number(row, "weight")
    return Example(
        prompt, responses, id=name(row, "id"), source=name(row, "source"), extra=others(row, (*used, *ROW_COLUMNS))
    )


def _answer(value: Any, column: str, prompt: list[Message]) -> list[Message]:
    """A completion; a plain text that answers a conversation is an assistant's turn."""
    conversational = bool(prompt) and prompt[0].role != TEXT
    return to_messages(value, column, text_role="assistant" if conversational else TEXT)


def _text(content: str) -> list[Message]:
    return [Message(TEXT, content)] if content else []


# language modelling

DIALOGUE_COLUMNS = ("messages", "conversations")


def _modelling_declines(row: Row) -> str | None:
    """A row that may be a document is read, though its text is none: others of its file are not to be lost."""
    if isinstance(row.get("text"), str) or any(is_conversation(row.get(column)) for column in DIALOGUE_COLUMNS):
        return None
    if "text" in row and not any(column in row for column in ("prompt", *DIALOGUE_COLUMNS)):
        return None
    return "no text in a column 'text' and no turns in 'messages' or 'conversations'"


def _modelling(row: Row) -> Example:
    column = next((column for column in DIALOGUE_COLUMNS if column in row), "text")
    value = cell(row, column)
    if column == "text" and not (isinstance(value, str) or is_conversation(value)):
        raise SkipRow(NO_TEXT)
    messages = to_messages(value, column)
    if column == "text":
        return _example(row, [], [Response(messages)], (column,))
    first = next((index for index, message in enumerate(messages) if message.role == "assistant"), None)
    if first is None:
        raise SkipRow("a dialogue without an assistant's turn")
    return _example(row, messages[:first], [Response(messages[first:])], (column,))


# prompts, with one completion or none


ANSWERS = ("completion", "response", "responses", "answer", "output", "target", "chosen", "rejected")


def _prompt_only_declines(row: Row) -> str | None:
    """Rows whose answers have a column we do not know must not be read as mere prompts."""
    answers = [column for column in ANSWERS if column in row]
    return lacks(row, "prompt") or (f"more than prompts: there is a column {answers[0]!r}" if answers else None)


def _prompt_only(row: Row) -> Example:
    return _example(row, to_messages(cell(row, "prompt"), "prompt"), [], ("prompt",))


def _completion(row: Row) -> Example:
    prompt = to_messages(cell(row, "prompt"), "prompt")
    response = Response(_answer(cell(row, "completion"), "completion", prompt), reward=number(row, "reward"))
    return _example(row, prompt, [response], ("prompt", "completion", "reward"))


def _unpaired(row: Row) -> Example:
    desirable = flag(row, "label")
    if desirable is None:
        raise RowError("column 'label' must say true (desirable) or false (undesirable), and is empty")
    example = _completion(row)
    example.responses[0].desirable = desirable
    del example.extra["label"]
    return example


# preferences


def _preference(row: Row) -> Example:
    prompt, chosen, rejected = split_pair(row)
    responses = [
        Response(answer, reward=_first_number(row, f"score_{which}", f"reward_{which}"))
        for which, answer in (("chosen", chosen), ("rejected", rejected))
    ]
    used = ("prompt", "chosen", "rejected", "margin", *SCORES)
    example = _example(row, prompt, responses, used)
    example.better, example.margin = 0, number(row, "margin")
    return example


SCORES = ("score_chosen", "score_rejected", "reward_chosen", "reward_rejected")


def _first_number(row: Row, *columns: str) -> float | None:
    return next((value for value in (number(row, column) for column in columns) if value is not None), None)


def split_pair(row: Row) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected), the prompt taken out of the two answers where they repeat it or it is implicit."""
    first, second = cell(row, "chosen"), cell(row, "rejected")
    if is_conversation(first) != is_conversation(second):
        raise RowError("'chosen' and 'rejected' must be both texts or both lists of turns")
    given = row.get("prompt")
    implicit = given is None or (is_conversation(first) and not is_conversation(given))
    if implicit and isinstance(first, str) and isinstance(second, str):
        prompt, *answers = split_texts(first, second)
        return _text(prompt), [Message(TEXT, answers[0])], [Message(TEXT, answers[1])]
    if implicit:
        return split_dialogues(to_messages(first, "chosen"), to_messages(second, "rejected"))
    prompt = to_messages(given, "prompt")
    chosen, rejected = _answer(first, "chosen", prompt), _answer(second, "rejected", prompt)
    if prompt and chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
        return prompt, chosen[len(prompt) :], rejected[len(prompt) :]
    return prompt, chosen, rejected


MODELLING = Reader(
    "language-modeling",
    "TRL language modelling: text, or messages (also conversations)",
    _modelling_declines,
    _modelling,
)
PROMPT_ONLY = Reader("prompt-only", "TRL prompt-only: prompt", _prompt_only_declines, _prompt_only)
COMPLETION = Reader(
    "prompt-completion",
    "TRL prompt and completion: prompt, completion; optional reward",
    lambda row: lacks(row, "prompt", "completion"),
    _completion,
)
UNPAIRED = Reader(
    "unpaired",
    "TRL unpaired preference: prompt, completion, label",
    lambda row: lacks(row, "prompt", "completion", "label"),
    _unpaired,
)
PREFERENCE = Reader(
    "preference",
    "TRL preference: chosen, rejected; the prompt in a column of its own or as their common beginning",
    lambda row: lacks(row, "chosen", "rejected"),
    _preference,
)
