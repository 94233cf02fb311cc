"""Heedful's own schema: a row is an `Example`, field by field; absent fields have their defaults.

    {"prompt": [{"role", "content", "trained"}],
     "responses": [{"messages": [...], "reward", "cost", "desirable", "safe", "harm_categories", "severity", "rank",
                    "weight", "spans": [{"start", "end", "score"}], "source", "extra"}],
     "better", "safer", "strength", "margin", "id", "source", "origin", "extra"}

Columns that are no field of ours go to `extra`.
"""

from __future__ import annotations

import json
from typing import Any

from heedful.examples.conversation import RowError, kind, to_messages
from heedful.examples.readers.reader import Reader, flag, integer, items, lacks, name, number, others
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response, Span

RESPONSE_FIELDS = tuple(Response.__dataclass_fields__)
EXAMPLE_FIELDS = tuple(Example.__dataclass_fields__)


def example_of(row: Row) -> Example:
    """The Example a row of our schema stands for; raises RowError for a row that contradicts itself."""
    responses = [_response(value, f"responses[{i}]") for i, value in enumerate(items(row, "responses"))]
    example = Example(
        _turns(row, "prompt"),
        responses,
        better=_index(row, "better", len(responses)),
        safer=_index(row, "safer", len(responses)),
        strength=number(row, "strength"),
        margin=number(row, "margin"),
        id=name(row, "id"),
        source=name(row, "source"),
        origin=name(row, "origin"),
        extra={**others(row, EXAMPLE_FIELDS), **_extra(row)},
    )
    _check_ranks(example)
    return example


def _response(value: Any, where: str) -> Response:
    if not isinstance(value, dict):
        raise RowError(f"{where} must be a mapping with 'messages', not {kind(value)}")
    try:
        return Response(
            _turns(value, "messages"),
            reward=number(value, "reward"),
            cost=number(value, "cost"),
            desirable=flag(value, "desirable"),
            safe=flag(value, "safe"),
            harm_categories=[str(harm) for harm in _list_or_none(value, "harm_categories")],
            severity=integer(value, "severity"),
            rank=integer(value, "rank"),
            weight=number(value, "weight"),
            spans=[_span(span) for span in _list_or_none(value, "spans")],
            source=name(value, "source"),
            extra={**others(value, RESPONSE_FIELDS), **_extra(value)},
        )
    except RowError as error:
        raise RowError(f"{where}: {error}") from None


def _turns(row: Row, column: str) -> list[Message]:
    return to_messages(items(row, column, "a list of turns"), column)


def _list_or_none(row: Row, column: str) -> list[Any]:
    return [] if row.get(column) is None else items(row, column)


def _span(value: Any) -> Span:
    row = value if isinstance(value, dict) else {}
    start, end, score = integer(row, "start"), integer(row, "end"), number(row, "score")
    if start is None or end is None or score is None or not 0 <= start <= end:
        raise RowError(f"a span must have 'start' <= 'end' and a 'score', not {value!r}")
    return Span(start, end, score)


def _index(row: Row, column: str, count: int) -> int | None:
    index = integer(row, column)
    if index is not None and not 0 <= index < count:
        raise RowError(f"{column!r} is {index}, and there are {count} responses (the first is 0)")
    return index


def _extra(row: Row) -> dict[str, Any]:
    """`extra` is a mapping in JSON, and a JSON text in Parquet (whose columns have one type)."""
    value = row.get("extra")
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise RowError(f"'extra' is not valid JSON ({error.msg})") from None
    if not isinstance(value, dict | None):
        raise RowError(f"'extra' must be a mapping, not {kind(value)}")
    return value or {}


def _check_ranks(example: Example) -> None:
    ranks = [response.rank for response in example.responses]
    if any(rank is not None and rank < 1 for rank in ranks):
        raise RowError("a rank counts from 1, the best")
    given = [rank for rank in ranks if rank is not None]
    best = None if example.better is None else ranks[example.better]
    if best is not None and best > min(given):
        raise RowError(f"'better' is response {example.better}, whose rank is {best}, and another ranks {min(given)}")


OWN = Reader(
    "heedful", "Heedful's own schema: prompt, responses", lambda row: lacks(row, "prompt", "responses"), example_of
)
