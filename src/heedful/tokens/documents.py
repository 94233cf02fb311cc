"""Documents to tokens with scores: each text tokenised once, the scores of its spans carried over to its tokens.

Axes: `T` tokens of a document, control tokens included.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from heedful.examples.documents import problem_of
from heedful.examples.shape import Dropped
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.templates import Template
from heedful.types import Example, Message, Response, Span

BLANKS = re.compile(r"\s")
BLOCK_CHARACTERS = 1 << 20
"""Text that is tokenised at once."""

Piece = tuple[int, int, float]
"""Characters [start, end) of a document and their score."""


@dataclass(frozen=True)
class Controls:
    """Which control token stands before a span: `aligned` up to the threshold, else `misaligned`.

    dropped: share of spans that get none, drawn by the seed and the document's text.
    """

    aligned: str
    misaligned: str
    threshold: float
    dropped: float
    seed: int

    def chosen(self, text: str, scores: Sequence[float]) -> list[str]:
        """The control token of each span, empty for one that goes without."""
        digest = hashlib.blake2b(text.encode(), digest_size=8, key=self.seed.to_bytes(8, "little")).digest()
        left_out = np.random.default_rng(int.from_bytes(digest, "little")).random(len(scores)) < self.dropped
        return [
            "" if out else self.aligned if score <= self.threshold else self.misaligned
            for score, out in zip(scores, left_out, strict=True)
        ]


@dataclass(frozen=True)
class EncodedDocument:
    """A document's tokens with the one that ends it, and the misalignment score of each (NaN: not judged)."""

    example: Example
    ids: Int32[np.ndarray, " T"]
    scores: Float32[np.ndarray, " T"]


def pieces_of(text: str, spans: Sequence[Span], score: float | None) -> list[Piece]:
    """The text as pieces that tile it: its spans, and what lies between them with the score of the whole."""
    whole = float("nan") if score is None else float(score)
    found: list[Piece] = []
    end = 0
    for span in sorted(spans, key=lambda span: span.start):
        if span.start > end:
            found.append((end, span.start, whole))
        if span.end > span.start:
            found.append((span.start, span.end, float(span.score)))
        end = max(end, span.end)
    if end < len(text):
        found.append((end, len(text), whole))
    return found


def encode_documents(
    template: Template, examples: Iterable[Example | Dropped], controls: Controls | None
) -> Iterator[EncodedDocument | Dropped]:
    """Every document as tokens, and what is left out, in order, about a megabyte of text at a time.

    A token has the score of the piece that holds its first character which is no blank (its first character, where all
    are blanks).  With controls the text is parted where a control token stands, so that it stands before the characters
    it governs; without, nothing is parted.  The token that ends a document has the score of its last piece.
    """
    block: list[Example | Dropped] = []
    size = 0
    for example in examples:
        block.append(example)
        size += len(example.responses[0].text) if isinstance(example, Example) else 0
        if size >= BLOCK_CHARACTERS:
            yield from _encode_block(template, block, controls)
            block, size = [], 0
    yield from _encode_block(template, block, controls)


def _encode_block(
    template: Template, block: Sequence[Example | Dropped], controls: Controls | None
) -> list[EncodedDocument | Dropped]:
    checked = [item if isinstance(item, Dropped) else _checked(item, controls) for item in block]
    laid = [_laid_out(item, controls) for item in checked if isinstance(item, Example)]
    tokens = iter(template.vocabulary.encode_with_starts([text for text, _, _ in laid]))
    layouts = iter(laid)
    found: list[EncodedDocument | Dropped] = []
    for item in checked:
        if isinstance(item, Dropped):
            found.append(item)
            continue
        (text, starts, scores), (ids, token_starts) = next(layouts), next(tokens)
        of_tokens = scores_of_tokens(text, starts, scores, token_starts)
        ended = np.append(ids, np.int32(template.eos_id)).astype(np.int32)
        found.append(EncodedDocument(item, ended, np.append(of_tokens, scores[-1]).astype(np.float32)))
    return found


def _checked(example: Example, controls: Controls | None) -> Example | Dropped:
    problem = problem_of(example)
    if problem is None and controls is not None:
        text = example.responses[0].text
        spelled = next((token for token in (controls.aligned, controls.misaligned) if token in text), None)
        problem = f"its text spells the control token {spelled}" if spelled else None
    return example if problem is None else Dropped(example.origin, problem)


def _laid_out(example: Example, controls: Controls | None) -> tuple[str, np.ndarray, np.ndarray]:
    """The text to tokenise, control tokens in place; where its pieces start in it, and their scores."""
    response = example.responses[0]
    text = response.text
    pieces = pieces_of(text, response.spans, response.cost)
    scores = np.array([score for _, _, score in pieces])
    starts = np.array([start for start, _, _ in pieces])
    if controls is None:
        return text, starts, scores
    tokens = controls.chosen(text, scores.tolist())
    lengths = np.array([len(token) for token in tokens])
    laid = "".join(token + text[start:end] for token, (start, end, _) in zip(tokens, pieces, strict=True))
    return laid, starts + np.cumsum(lengths) - lengths, scores


def scores_of_tokens(text: str, starts: np.ndarray, scores: np.ndarray, token_starts: np.ndarray) -> np.ndarray:
    """The score of the piece in which each token's first character stands that is no blank.

    starts, scores: where the pieces of the text start, and their scores.  token_starts: where the tokens start.
    """
    blank = np.zeros(len(text) + 1, bool)
    blank[[match.start() for match in BLANKS.finditer(text)]] = True
    next_inked = np.minimum.accumulate(np.where(blank, len(text), np.arange(len(text) + 1))[::-1])[::-1]
    ends = np.append(token_starts[1:], len(text))
    inked = next_inked[np.minimum(token_starts, len(text))]
    place = np.where(inked < ends, inked, token_starts)
    place = np.minimum(place, np.maximum(ends - 1, 0))  # of a character in several tokens, they all have its piece
    return scores[np.searchsorted(starts, place, side="right") - 1]


def sequences(
    documents: Iterable[EncodedDocument], template: Template, max_length: int, *, allow_crossing: bool
) -> Iterator[tuple[EncodedExample, Example]]:
    """Documents as sequences of at most `max_length` tokens, nothing left out, each with what its labels are.

    A document that is longer is cut into pieces, each behind the token that starts a text.  `row` is the document's
    number.  allow_crossing: the documents are run together, and every sequence but the last is full.
    """
    start = template.start_id
    if allow_crossing:
        yield from _crossing(documents, start, template.eos_id, max_length)
        return
    prompt = np.array([start], np.int32)
    for row, document in enumerate(documents):
        label = _label(document.example)
        cuts = list(range(0, len(document.ids), max_length - 1))
        for chunk, cut in enumerate(cuts):
            part = slice(cut, cut + max_length - 1)
            ids = document.ids[part]
            response = EncodedResponse(ids, np.ones(len(ids), bool), document.scores[part])
            yield EncodedExample(prompt, [response], row, chunk=chunk, num_chunks=len(cuts)), label


def _crossing(
    documents: Iterable[EncodedDocument], start: int, end: int, max_length: int
) -> Iterator[tuple[EncodedExample, Example]]:
    """The documents one behind the other, each behind the token that starts a text; the first token is the prompt."""
    ids, scores = np.empty(0, np.int32), np.empty(0, np.float32)
    first_row, label = 0, None
    for row, document in enumerate(documents):
        # Where one token both starts and ends a text, it stands between two documents once.
        own = slice(0, -1) if start == end else slice(None)
        ids = np.concatenate([ids, [np.int32(start)], document.ids[own]])
        scores = np.concatenate([scores, document.scores[:1], document.scores[own]])
        label = label or Example([], [Response([Message("text", "")])], origin=document.example.origin)
        while len(ids) >= max_length:
            yield _row(ids[:max_length], scores[:max_length], first_row), label
            ids, scores = ids[max_length:], scores[max_length:]
            first_row = row
            label = Example([], [Response([Message("text", "")])], origin=document.example.origin)
    if label is not None and len(ids) > 1:
        yield _row(ids, scores, first_row), label


def _row(ids: np.ndarray, scores: np.ndarray, row: int) -> EncodedExample:
    response = EncodedResponse(ids[1:].astype(np.int32), np.ones(len(ids) - 1, bool), scores[1:].astype(np.float32))
    return EncodedExample(ids[:1].astype(np.int32), [response], row)


def _label(example: Example) -> Example:
    """What a store keeps of a document beside its tokens."""
    response = example.responses[0]
    bare = Response([Message("text", "")], cost=response.cost, weight=response.weight)
    return Example([], [bare], id=example.id, origin=example.origin)
