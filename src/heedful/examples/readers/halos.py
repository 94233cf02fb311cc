"""The JSON files of HALOs: samples, and feedback on them that is binary, pairwise or a number."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from heedful.examples.conversation import RowError, to_messages
from heedful.examples.readers.reader import Asked, Reader, at, cell, flag, in_files_only, name, number, others
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import Example, Message, Response

TYPES = ("sample", "binary_feedback", "pairwise_feedback", "scalar_feedback")
USED = (
    *("type", "split", "prompt_id", "prompt", "instruction", "dataset", "sample_id", "generator"),
    *("output", "label", "reward", "output_A", "output_B", "reward_A", "reward_B", "reward_difference"),
)


def _gather(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    """A pair is an Example; the single outputs of one prompt are the responses of one Example.

    Rows that name their split are kept if it is the one asked for.
    """
    prompts: dict[Hashable, Example] = {}
    for origin, row in rows:
        split = row.get("split")
        if split is not None and (split == "train") != asked.is_train:
            yield Dropped(origin, f"it belongs to the split {split}")
            continue
        with at(origin):
            if row.get("type") not in TYPES:
                raise RowError(f"column 'type' must be one of {', '.join(TYPES)}, not {row.get('type')!r}")
            example = _pair(row, origin) if row["type"] == "pairwise_feedback" else _single(row, origin)
        if row["type"] == "pairwise_feedback":
            yield example
            continue
        first = prompts.setdefault(_key(example), example)
        if first is not example:
            first.responses += example.responses
    yield from prompts.values()


def _key(example: Example) -> Hashable:
    return example.id, tuple((turn.role, turn.content) for turn in example.prompt)


def _pair(row: Row, origin: str) -> Example:
    won = flag(row, "label")
    if won is None:
        raise RowError("column 'label' must say whether output_A is better, and is empty")
    responses = [Response(_output(row, f"output_{which}"), reward=number(row, f"reward_{which}")) for which in "AB"]
    return _example(row, responses, origin, better=int(not won))


def _single(row: Row, origin: str) -> Example:
    judged = row["type"] == "binary_feedback"
    desirable = flag(row, "label") if judged else None
    if judged and desirable is None:
        raise RowError("column 'label' must say whether the output is desirable, and is empty")
    response = Response(
        _output(row, "output"), reward=number(row, "reward"), desirable=desirable, source=name(row, "generator")
    )
    return _example(row, [response], origin)


def _example(row: Row, responses: list[Response], origin: str, better: int | None = None) -> Example:
    column = "prompt" if "prompt" in row else "instruction"
    prompt = to_messages(cell(row, column), column, text_role="user")
    labels: dict[str, Any] = {"id": name(row, "prompt_id"), "source": name(row, "dataset"), "origin": origin}
    return Example(prompt, responses, better=better, extra=others(row, USED), **labels)


def _output(row: Row, column: str) -> list[Message]:
    return to_messages(cell(row, column), column, text_role="assistant")


def _declines(row: Row) -> str | None:
    if row.get("type") in TYPES and ("output" in row or "output_A" in row):
        return None
    return f"no 'type' among {', '.join(TYPES)} with an 'output'"


HALOS = Reader(
    "halos",
    "HALOs' JSON: type (sample, binary_feedback, pairwise_feedback, scalar_feedback), prompt, output",
    _declines,
    in_files_only("halos"),
    gather=_gather,
)
