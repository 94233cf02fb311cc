"""Documents judged: one misalignment score each, and one for every piece of their text.  Lower is always better.

Pieces tile a text: lines with their newline, sentences with the blanks behind them, or whatever a scorer finds itself.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from heedful.config.watch import Split
from heedful.scorers.scorer import DocumentFunction, Scorer, WrongCount, reason_of
from heedful.types import Span

# A run of marks is tried from its first mark only: a text of nothing but dots takes no longer than another.
_SENTENCE = re.compile(r".*?(?:(?<![.!?…])[.!?…]+[\"'”’)\]]*(?:\s+|\Z)|\n\s*|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Judgement:
    """score: the document's.  spans: those of its pieces, which tile the text; none where it was judged as a whole."""

    score: float
    spans: list[Span]


def judge_documents(scorer: Scorer, texts: Sequence[str], split: Split = "own") -> list[Judgement | str]:
    """What a scorer says of each text, or why it could not say it; a text that fails never costs the others.

    split: what is scored apart; `own` is the scorer's way.  The score of a text in pieces is their unweighted mean
    (as Korbak et al. 2023 publish theirs), unless the scorer has a way of its own.  A scorer of which larger is better
    counts negated.  Raises RunError for a scorer that gives more or fewer numbers than texts.
    """
    judge = _judge_of(scorer, split)
    try:
        found = judge(texts)
    except WrongCount:
        raise
    except Exception:  # Some text's fault: each is asked about alone, so that the reason is told of that one.
        return [_one(judge, text) for text in texts]
    return [_checked(judgement, text) for judgement, text in zip(found, texts, strict=True)]


def split_of(text: str, split: Split) -> list[str]:
    """The pieces of a text: joined, they are the text."""
    if split == "lines":
        return lines_of(text)
    if split == "sentences":
        return [piece for piece in _SENTENCE.findall(text) if piece]
    return [text] if text else []


def lines_of(text: str) -> list[str]:
    """The lines of a text with their newlines, as a file has them: only \\n, \\r and both together end one."""
    return io.StringIO(text, newline="").readlines()


def per_character(text: str, begins: Sequence[int]) -> tuple[float, list[Span]]:
    """Findings per character of a text, and of each of its sentences: those that begin in it.

    begins: the characters where findings begin, ascending.
    """
    spans, start = [], 0
    for sentence in split_of(text, "sentences"):
        end = start + len(sentence)
        count = bisect_left(begins, end) - bisect_left(begins, start)
        spans.append(Span(start, end, count / len(sentence)))
        start = end
    return len(begins) / max(len(text), 1), spans


def scores_of(judged: Sequence[Judgement | str]) -> list[float | None]:
    """The documents' scores; None of one that could not be judged."""
    return [one.score if isinstance(one, Judgement) else None for one in judged]


def tiled(pieces: Sequence[str], scores: Iterable[float]) -> list[Span]:
    """Pieces that make up a text, one after the other, as its spans."""
    ends = itertools.accumulate(map(len, pieces))
    return [Span(end - len(piece), end, score) for piece, end, score in zip(pieces, ends, scores, strict=True)]


def counting(name: str, begins: Callable[[str], Sequence[int]], about: str) -> Scorer:
    """A scorer of findings per character, with sentences as spans.  begins: where they begin in a text, ascending."""

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [len(begins(text)) / max(len(text), 1) for text in responses]

    def document(texts: Sequence[str]) -> list[tuple[float, list[Span]]]:
        return [per_character(text, begins(text)) for text in texts]

    return Scorer(name, function, True, None, about, document=document, split="sentences")


def _judge_of(scorer: Scorer, split: Split) -> Callable[[Sequence[str]], list[Judgement]]:
    document = scorer.document
    if document is None:
        chosen = scorer.split if split == "own" else split
        return lambda texts: _by_pieces(lambda pieces: _misalignment(scorer, pieces), texts, chosen)
    own = _own(scorer.name, document)
    if split == "own":
        return own
    if split == scorer.split != "none":
        return lambda texts: [Judgement(_mean(found.spans), found.spans) for found in own(texts)]
    return lambda texts: _by_pieces(lambda pieces: [found.score for found in own(pieces)], texts, split)


def _own(name: str, document: DocumentFunction) -> Callable[[Sequence[str]], list[Judgement]]:
    def judge(texts: Sequence[str]) -> list[Judgement]:
        found = [Judgement(score, spans) for score, spans in document(texts)]
        if len(found) != len(texts):
            raise WrongCount(f"Scorer {name} judged {len(found)} documents of {len(texts)}.")
        return found

    return judge


def _misalignment(scorer: Scorer, pieces: Sequence[str]) -> list[float]:
    alone = replace(scorer, failure=None)  # a blank line is no answer that failed
    return [-scorer.reward(score) for score in alone([""] * len(pieces), pieces)]


def _by_pieces(score: Callable[[Sequence[str]], list[float]], texts: Sequence[str], split: Split) -> list[Judgement]:
    """All pieces of all texts in one call of the scorer."""
    pieces = [split_of(text, split) for text in texts]
    scores = iter(score([piece for text in pieces for piece in text]))
    found = []
    for text in pieces:
        spans = tiled(text, itertools.islice(scores, len(text)))
        found.append(Judgement(_mean(spans), [] if split == "none" else spans))
    return found


def _mean(spans: Sequence[Span]) -> float:
    """Unweighted; of nothing 0."""
    return sum(span.score for span in spans) / max(len(spans), 1)


def _one(judge: Callable[[Sequence[str]], list[Judgement]], text: str) -> Judgement | str:
    try:
        [judgement] = judge([text])
    except Exception as error:
        return reason_of(error)
    return _checked(judgement, text)


def _checked(judgement: Judgement, text: str) -> Judgement | str:
    scores = [judgement.score, *(span.score for span in judgement.spans)]
    wrong = next((score for score in scores if not math.isfinite(score)), None)
    if wrong is not None:
        return f"the scorer gave {wrong}, which is no number"
    at = 0
    for span in judgement.spans:
        if span.start != at or span.end <= at:
            return f"the scorer's pieces do not tile the text: one at [{span.start}, {span.end}) where {at} is due"
        at = span.end
    if judgement.spans and at != len(text):
        return f"the scorer's pieces do not tile the text: they end at {at} of {len(text)} characters"
    return judgement
