"""Safe-RLHF: rows of PKU-SafeRLHF, and the fields of its `RawSample` (what a data set class of that code yields)."""

from __future__ import annotations

from typing import Any

from heedful.examples.conversation import RowError
from heedful.examples.readers.reader import Reader, cell, flag, integer, lacks, name, number, others, text
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response

# PKU-SafeRLHF

PER_RESPONSE = (
    "response_{}",
    "response_{}_source",
    "is_response_{}_safe",
    "response_{}_harm_category",
    "response_{}_severity_level",
    "response_{}_reward",
    "response_{}_cost",
)
ROW_COLUMNS = ("prompt", "prompt_source", "better_response_id", "safer_response_id", "id")


def _pku(row: Row) -> Example:
    used = {*ROW_COLUMNS, *(pattern.format(k) for pattern in PER_RESPONSE for k in (0, 1))}
    extra = others(row, used)
    return Example(
        [Message("user", text(row, "prompt"))],
        [_pku_response(row, k, extra) for k in (0, 1)],
        better=_which(row, "better_response_id"),
        safer=_which(row, "safer_response_id"),
        id=name(row, "id"),
        source=name(row, "prompt_source"),
        extra=extra,
    )


def _pku_response(row: Row, k: int, extra: dict[str, Any]) -> Response:
    """Response k with its labels; any other column called `response_k_…` moves from the row's extra to its own."""
    mine = f"response_{k}_"
    own = {column.removeprefix(mine): extra.pop(column) for column in [c for c in extra if c.startswith(mine)]}
    return Response(
        [Message("assistant", text(row, f"response_{k}"))],
        reward=number(row, f"response_{k}_reward"),
        cost=number(row, f"response_{k}_cost"),
        safe=flag(row, f"is_response_{k}_safe"),
        harm_categories=_harms(row, f"response_{k}_harm_category"),
        severity=integer(row, f"response_{k}_severity_level"),
        source=name(row, f"response_{k}_source"),
        extra=own,
    )


def _harms(row: Row, column: str) -> list[str]:
    """The categories marked true, as a mapping or a list names them."""
    value = row.get(column) or {}
    if not isinstance(value, dict | list):
        raise RowError(f"column {column!r} must map categories to true or false, not {value!r:.40}")
    return [str(harm) for harm in value if not isinstance(value, dict) or value[harm]]


def _which(row: Row, column: str) -> int | None:
    """0 or 1; None for a missing verdict or a tie (-1)."""
    value = integer(row, column)
    if value not in (None, -1, 0, 1):
        raise RowError(f"column {column!r} must be 0 or 1 (-1 for a tie), not {value}")
    return None if value == -1 else value


# RawSample

FIELDS = ("input", "answer", "other_answer", "dialogue", "better", "safer", "is_safe", "is_other_safe")


def _raw_declines(row: Row) -> str | None:
    if isinstance(row.get("dialogue"), list):
        return None
    if "answer" in row or set(row) <= set(FIELDS):
        return lacks(row, "input")
    return "no list in 'dialogue', and no column 'answer' beside 'input'"


def _raw(row: Row) -> Example:
    extra = others(row, FIELDS)
    if row.get("dialogue") is not None:
        turns = _alternate(cell(row, "dialogue"), "dialogue")
        if len(turns) % 2 or not turns:
            raise RowError(f"'dialogue' must alternate question and answer, so have an even length, not {len(turns)}")
        return Example(turns[:1], [Response(turns[1:])], extra=extra)
    prompt = _alternate(cell(row, "input"), "input")
    if len(prompt) % 2 == 0:
        raise RowError(f"'input' must end with the user's turn, so have an odd number of turns, not {len(prompt)}")
    answers = [column for column in ("answer", "other_answer") if row.get(column) is not None]
    safe = {"answer": flag(row, "is_safe"), "other_answer": flag(row, "is_other_safe")}
    responses = [Response([Message("assistant", text(row, column))], safe=safe[column]) for column in answers]
    pair = len(answers) == 2
    return Example(
        prompt,
        responses,
        better=_first(flag(row, "better")) if pair else None,
        safer=_first(flag(row, "safer")) if pair else None,
        extra=extra,
    )


def _first(verdict: bool | None) -> int | None:
    """`better` and `safer` say whether the first answer won."""
    return None if verdict is None else int(not verdict)


def _alternate(value: Any, column: str) -> list[Message]:
    """A text, or texts that alternate between user and assistant."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(turn, str) for turn in texts):
        raise RowError(f"{column!r} must be a text or a list of texts, not {value!r:.40}")
    return [Message(("user", "assistant")[index % 2], turn) for index, turn in enumerate(texts)]


PKU = Reader(
    "safe-rlhf",
    "PKU-SafeRLHF: prompt, response_0, response_1, better_response_id, safer_response_id, safety labels",
    lambda row: lacks(row, "prompt", "response_0", "response_1"),
    _pku,
)
RAW_SAMPLE = Reader(
    "raw-sample",
    "Safe-RLHF RawSample: input, answer, other_answer, dialogue, better, safer, is_safe, is_other_safe",
    _raw_declines,
    _raw,
)
