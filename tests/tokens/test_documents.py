"""Documents to tokens with scores: which token has which span's score, where control tokens stand, what is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples.shape import Dropped
from heedful.tokens.control import add_tokens
from heedful.tokens.documents import Controls, EncodedDocument, encode_documents, pieces_of, scores_of_tokens, sequences
from heedful.tokens.templates import Template
from heedful.types import TEXT, Example, Message, Response, Span
from tests.tokens.tokenizers import make

ALIGNED, MISALIGNED = "<|aligned|>", "<|misaligned|>"


def document(text: str, *spans: tuple[int, int, float], cost: float | None = None) -> Example:
    return Example([], [Response([Message(TEXT, text)], cost=cost, spans=[Span(*s) for s in spans])], origin="d:1")


def template(style: str = "gpt2") -> Template:
    tokenizer = make(style)
    add_tokens(tokenizer, [ALIGNED, MISALIGNED])
    return Template.load(tokenizer, None)


def controls(threshold: float = 0.0, dropped: float = 0.0, seed: int = 0) -> Controls:
    return Controls(ALIGNED, MISALIGNED, threshold, dropped, seed)


@pytest.fixture(scope="module")
def bytelevel() -> Template:
    return template()


def encoded(template: Template, example: Example, controls: Controls | None = None) -> EncodedDocument:
    [found] = encode_documents(template, [example], controls)
    assert isinstance(found, EncodedDocument), found
    return found


def lines(text: str, scores: list[float]) -> list[tuple[int, int, float]]:
    found, start = [], 0
    for line, score in zip(text.splitlines(keepends=True), scores, strict=True):
        found.append((start, start + len(line), score))
        start += len(line)
    return found


class TestPieces:
    def test_spans_and_what_lies_between(self):
        # "abcdefgh": [0, 2) and [7, 8) lie outside every span and have the whole's score.
        spans = [Span(5, 7, 0.5), Span(2, 5, 0.1)]
        assert pieces_of("abcdefgh", spans, 0.3) == [(0, 2, 0.3), (2, 5, 0.1), (5, 7, 0.5), (7, 8, 0.3)]

    def test_a_document_without_spans_is_one_piece(self):
        assert pieces_of("abc", [], 0.25) == [(0, 3, 0.25)]

    def test_nobody_judged(self):
        [(start, end, score)] = pieces_of("abc", [], None)
        assert (start, end) == (0, 3)
        assert np.isnan(score)


class TestScoresOfTokens:
    def test_the_first_character_that_is_no_blank_decides(self):
        # "ab\n  cd\n": line 1 is [0, 3), line 2 [3, 8).  Tokens "ab", "\n  " and "cd" start at 0, 2 and 5: the second
        # is all blanks and begins in line 1; " cd" at 4 would begin with a blank of line 2.
        scores = scores_of_tokens("ab\n  cd\n", np.array([0, 3]), np.array([0.1, 0.9]), np.array([0, 2, 5, 7]))
        assert scores.tolist() == [0.1, 0.1, 0.9, 0.9]

    def test_a_token_over_a_border_belongs_to_where_its_ink_is(self):
        # A token "\n  x" from 2 to 6 has its first ink at 5, in line 2.
        scores = scores_of_tokens("ab\n  x", np.array([0, 3]), np.array([0.1, 0.9]), np.array([0, 2]))
        assert scores.tolist() == [0.1, 0.9]

    def test_the_pieces_of_one_character_have_its_score(self):
        # "é|x" in tokens: two for é (0 and, ending where é ends, 1), then x.
        scores = scores_of_tokens("éx", np.array([0, 1]), np.array([0.1, 0.9]), np.array([0, 1, 1]))
        assert scores.tolist() == [0.1, 0.1, 0.9]


class TestEncoding:
    def test_the_whole_text_is_tokenised_once(self, bytelevel):
        text = "def add(a, b):\n    return a + b\n"
        found = encoded(bytelevel, document(text, *lines(text, [0.0, 0.5])))
        assert found.ids[:-1].tolist() == bytelevel.vocabulary.encode([text])[0]
        assert found.ids[-1] == bytelevel.eos_id
        assert len(found.scores) == len(found.ids)
        assert set(found.scores.tolist()) == {0.0, 0.5}
        assert found.scores[-1] == 0.5  # the end belongs to the last span

    def test_control_tokens_stand_before_the_characters_they_govern(self, bytelevel):
        text = "def add(a, b):\n    return a + b\n"
        found = encoded(bytelevel, document(text, *lines(text, [0.0, 0.5])), controls())
        spelled = bytelevel.vocabulary.decode(found.ids[:-1].tolist())
        assert spelled == f"{ALIGNED}def add(a, b):\n{MISALIGNED}    return a + b\n"
        bad = bytelevel.vocabulary.special_id(MISALIGNED)
        place = found.ids.tolist().index(bad)
        assert found.scores[:place].max() == 0.0
        assert found.scores[place:].min() == 0.5

    def test_documents_without_spans_are_conditioned_too(self, bytelevel):
        found = encoded(bytelevel, document("abc def", cost=0.7), controls(0.5))
        assert bytelevel.vocabulary.decode(found.ids[:-1].tolist()) == f"{MISALIGNED}abc def"

    def test_a_share_of_spans_goes_without_and_nothing_is_parted_there(self, bytelevel):
        text = "x = 1\n" * 2000
        found = encoded(bytelevel, document(text, *lines(text, [0.0] * 2000)), controls(dropped=0.25))
        kept = int((found.ids == bytelevel.vocabulary.special_id(ALIGNED)).sum())
        # 2000 draws with p = 3/4: mean 1500, deviation √(2000·¾·¼) = 19.4; five deviations either way.
        assert 1403 < kept < 1597
        all_left = encoded(bytelevel, document("a b\nc d\n", (0, 4, 0.0), (4, 8, 0.0)), controls(dropped=1.0))
        assert all_left.ids[:-1].tolist() == bytelevel.vocabulary.encode(["a b\nc d\n"])[0]

    def test_the_draw_is_a_function_of_seed_and_text(self, bytelevel):
        text = "x = 1\n" * 50
        found = [
            encoded(bytelevel, document(text, *lines(text, [0.0] * 50)), controls(dropped=0.5, seed=seed)).ids.tolist()
            for seed in (0, 0, 1)
        ]
        assert found[0] == found[1] != found[2]

    @pytest.mark.parametrize(
        ("example", "reason"),
        [
            (document("abc", (1, 9, 0.1)), "a span that ends at 9, outside its text"),
            (document("abcd", (0, 3, 0.1), (2, 4, 0.1)), "spans that overlap"),
            (document("abc", (0, 3, float("nan"))), "a score that is not a number"),
            (document("abc", cost=float("nan")), "a score that is not a number"),
            (document(" \n"), "an empty document"),
            (document(f"a {ALIGNED} b"), f"its text spells the control token {ALIGNED}"),
        ],
    )
    def test_what_cannot_be_used_is_left_out_with_its_reason_and_the_rest_stays(self, bytelevel, example, reason):
        found = list(encode_documents(bytelevel, [document("first"), example, document("last")], controls()))
        assert found[1] == Dropped("d:1", reason)
        assert [type(one) for one in found] == [EncodedDocument, Dropped, EncodedDocument]

    @given(st.text(alphabet="ab \n\té中", min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=4))
    @settings(max_examples=60, deadline=None)
    def test_every_token_has_the_score_of_a_piece_it_touches(self, text, borders):
        if not text.strip():
            return
        cuts = sorted({0, len(text), *(b for b in borders if b < len(text))})
        spans = [(a, b, float(i)) for i, (a, b) in enumerate(pairwise(cuts))]
        shared = template_once()
        found = encoded(shared, document(text, *spans))
        [(ids, starts)] = shared.vocabulary.encode_with_starts([text])
        ends = [*starts[1:].tolist(), len(text)]
        for score, start, end in zip(found.scores[:-1].tolist(), starts.tolist(), ends, strict=True):
            touched = {i for i, (a, b, _) in enumerate(spans) if a < max(end, start + 1) and b > start}
            assert int(score) in touched | {int(score)} if start >= end else int(score) in touched
        assert found.ids[:-1].tolist() == ids.tolist()


_ONCE: list[Template] = []


def template_once() -> Template:
    if not _ONCE:
        _ONCE.append(template())
    return _ONCE[0]


class TestSequences:
    def test_nothing_is_lost_and_every_piece_begins_like_a_text(self, bytelevel):
        texts = ["one two three four five six seven\n" * 5, "short\n"]
        found = [encoded(bytelevel, document(text, cost=0.5)) for text in texts]
        laid = [item for item, _ in sequences(found, bytelevel, 16, allow_crossing=False)]
        assert max(item.longest for item in laid) <= 16
        for row, one in enumerate(found):
            pieces = [item.responses[0].ids for item in laid if item.row == row]
            assert np.concatenate(pieces).tolist() == one.ids.tolist()
        assert {tuple(item.prompt_ids.tolist()) for item in laid} == {(bytelevel.vocabulary.start_id,)}

    def test_crossing_runs_documents_together_and_keeps_the_tail(self, bytelevel):
        found = [encoded(bytelevel, document(f"text number {i}\n" * 3, cost=i / 10)) for i in range(5)]
        laid = [item for item, _ in sequences(found, bytelevel, 16, allow_crossing=True)]
        stream = np.concatenate([np.concatenate([item.prompt_ids, item.responses[0].ids]) for item in laid])
        start, end = bytelevel.vocabulary.start_id, bytelevel.eos_id
        between = [] if start == end else [end]
        expected = [t for one in found for t in (start, *one.ids[:-1].tolist(), *between)]
        assert stream.tolist() == expected
        assert [item.longest for item in laid[:-1]] == [16] * (len(laid) - 1)
        assert all(item.responses[0].trained.all() for item in laid)
