"""Stanford Alpaca: instruction, input (may be empty), output."""

from __future__ import annotations

from heedful.examples.readers.reader import Reader, lacks, others, text
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response


def _alpaca(row: Row) -> Example:
    """The prompt is the instruction, then a space and the input if there is one (as Safe-RLHF joins them)."""
    question = " ".join(part for part in (text(row, "instruction"), _input(row)) if part)
    return Example(
        [Message("user", question)],
        [Response([Message("assistant", text(row, "output"))])],
        extra=others(row, ("instruction", "input", "output")),
    )


def _input(row: Row) -> str:
    return "" if row.get("input") is None else text(row, "input")


ALPACA = Reader(
    "alpaca", "Stanford Alpaca: instruction, input, output", lambda row: lacks(row, "instruction", "output"), _alpaca
)
