"""Documents with misalignment scores: as `heed score` writes them, and as Korbak et al. 2023 publish theirs.

{"text", "score", "spans": [{"start", "end", "score"}], …}      spans may be missing
{"texts": [...], "scores": [...], "avg_score"}                   pieces of one document, in their order
"""

from __future__ import annotations

from typing import Any

import numpy as np

from heedful.examples.conversation import SkipRow
from heedful.examples.readers.reader import NO_TEXT, Reader, items, lacks, name, number, others
from heedful.examples.rows import Row
from heedful.types import TEXT, Example, Message, Response, Span

NO_NUMBER = "a score that is not a number"


def _declines(row: Row) -> str | None:
    reason = lacks(row, "text", "score")
    return None if reason is None or lacks(row, "texts", "scores") is None else reason


def _document(row: Row) -> Example:
    return _in_pieces(row) if "texts" in row else _whole(row)


def _whole(row: Row) -> Example:
    text = row.get("text")
    if not isinstance(text, str):
        raise SkipRow(NO_TEXT)
    spans = [_span(value, len(text)) for value in row.get("spans") or []]
    used = ("text", "score", "spans", "id", "weight")
    return _made(row, text, _score(row.get("score")), spans, used)


def _in_pieces(row: Row) -> Example:
    texts, scores = items(row, "texts"), items(row, "scores")
    if not all(isinstance(text, str) for text in texts):
        raise SkipRow(NO_TEXT)
    if len(texts) != len(scores):
        raise SkipRow(f"{len(texts)} texts with {len(scores)} scores")
    spans, start = [], 0
    for text, score in zip(texts, scores, strict=True):
        spans.append(Span(start, start + len(text), _score(score)))
        start += len(text)
    average = row.get("avg_score")
    if average is None and spans:
        average = sum(span.score for span in spans) / len(spans)
    return _made(row, "".join(texts), _score(average), spans, ("texts", "scores", "avg_score", "id", "weight"))


def _made(row: Row, text: str, score: float, spans: list[Span], used: tuple[str, ...]) -> Example:
    response = Response([Message(TEXT, text)], cost=score, spans=spans, weight=number(row, "weight"))
    return Example([], [response], id=name(row, "id"), extra=others(row, used))


LARGEST = float(np.finfo(np.float32).max)
"""Scores are stored in single precision."""


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise SkipRow(NO_NUMBER)
    return float(value)


def _span(value: Any, length: int) -> Span:
    row = value if isinstance(value, dict) else {}
    start, end = row.get("start"), row.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end:
        raise SkipRow("a span without start and end")
    if end > length:
        raise SkipRow(f"a span that ends at {end:,}, outside its text")
    return Span(start, end, _score(row.get("score")))


SCORED = Reader("scored", "scored documents: text, score, spans; or texts, scores, avg_score", _declines, _document)
