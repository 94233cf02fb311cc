"""Documents judged: one misalignment score each, and one for every piece of their text.  Lower is always better.

Pieces tile a text: lines with their newline, sentences with the blanks behind them, or whatever a scorer finds itself.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from heedful.scorers.scorer import Scorer
from heedful.types import RunError, Span, UserError

Split = Literal["own", "lines", "sentences", "none"]

_SENTENCE = re.compile(r".*?(?:[.!?…]+[\"'”’)\]]*(?:\s+|\Z)|\n\s*|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Judgement:
    """score: the document's.  spans: those of its pieces, which tile the text; none where it was judged as a whole."""

    score: float
    spans: list[Span]


def judge_documents(scorer: Scorer, texts: Sequence[str], split: Split = "own") -> list[Judgement | str]:
    """What a scorer says of each text, or why it could not say it; a text that fails never costs the others.

    split: what is scored apart; `own` is the scorer's way.  The score of a text in pieces is their unweighted mean
    (as Korbak et al. 2023 publish theirs), unless the scorer has a way of its own.  A scorer of which larger is better
    counts negated.
    """
    judge = _judge_of(scorer, split)
    try:
        return [_checked(judgement) for judgement in judge(texts)]
    except UserError:
        raise
    except Exception:
        return [_one(judge, text) for text in texts]


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


def _judge_of(scorer: Scorer, split: Split) -> Callable[[Sequence[str]], list[Judgement]]:
    if split == "own" and scorer.document is not None:
        return lambda texts: [Judgement(*found) for found in scorer.document(texts)]  # pyright: ignore
    chosen = scorer.split if split == "own" else split
    return lambda texts: _by_pieces(scorer, texts, chosen)


def _by_pieces(scorer: Scorer, texts: Sequence[str], split: Split) -> list[Judgement]:
    """All pieces of all texts in one call of the scorer."""
    pieces = [split_of(text, split) for text in texts]
    flat = [piece for text in pieces for piece in text]
    scores = iter([-scorer.reward(score) for score in scorer([""] * len(flat), flat)])
    found = []
    for text in pieces:
        start, spans = 0, []
        for piece in text:
            spans.append(Span(start, start + len(piece), next(scores)))
            start += len(piece)
        mean = sum(span.score for span in spans) / len(spans) if spans else 0.0
        found.append(Judgement(mean, [] if split == "none" else spans))
    return found


def _one(judge: Callable[[Sequence[str]], list[Judgement]], text: str) -> Judgement | str:
    try:
        [judgement] = judge([text])
    except UserError:
        raise
    except RunError as error:
        return str(error)
    except Exception as error:
        return f"the scorer raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return _checked(judgement)


def _checked(judgement: Judgement) -> Judgement | str:
    scores = [judgement.score, *(span.score for span in judgement.spans)]
    wrong = next((score for score in scores if not math.isfinite(score)), None)
    return judgement if wrong is None else f"the scorer gave {wrong}, which is no number"
