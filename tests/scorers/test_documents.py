"""Documents judged: pieces, scores, failures."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.scorers import get
from heedful.scorers.documents import Judgement, judge_documents, split_of
from heedful.scorers.scorer import Scorer
from heedful.types import Span, UserError


def scorer(function, **settings) -> Scorer:
    return Scorer("own", lambda prompts, texts: [function(text) for text in texts], True, None, "", **settings)


class TestPieces:
    @given(st.text(alphabet="ab.!? \n\r\x0c”", max_size=60))
    def test_pieces_joined_are_the_text(self, text):
        for split in ("lines", "sentences", "none"):
            assert "".join(split_of(text, split)) == text

    def test_sentences_keep_the_blanks_behind_them(self):
        text = 'One. Two!  "Three?" four\nfive'
        assert split_of(text, "sentences") == ["One. ", "Two!  ", '"Three?" ', "four\n", "five"]

    def test_a_form_feed_ends_no_line(self):
        assert split_of("a\x0cb\nc", "lines") == ["a\x0cb\n", "c"]


class TestJudging:
    def test_the_score_is_the_mean_of_the_pieces(self):
        # lengths 2, 3 and 1: mean 2
        [found] = judge_documents(scorer(len), ["a\nbc\nd"], "lines")
        assert found == Judgement(2.0, [Span(0, 2, 2.0), Span(2, 5, 3.0), Span(5, 6, 1.0)])

    def test_a_text_as_a_whole_has_no_spans(self):
        assert judge_documents(scorer(len), ["a\nbc"], "none") == [Judgement(4.0, [])]

    def test_larger_is_better_counts_negated(self):
        better = Scorer("own", lambda prompts, texts: [1.0] * len(texts), False, None, "")
        assert judge_documents(better, ["x"], "none") == [Judgement(-1.0, [])]

    def test_a_text_that_fails_never_costs_the_others(self):
        def fussy(text: str) -> float:
            if "bad" in text:
                raise KeyError("no bad\ntexts")
            return math.nan if "nan" in text else 0.5

        found = judge_documents(scorer(fussy), ["fine", "bad", "nan", "fine"], "none")
        assert found[0] == found[3] == Judgement(0.5, [])
        assert found[1] == "the scorer raised KeyError: 'no bad\\ntexts'"
        assert "must return numbers" in str(found[2])

    def test_nothing_is_harmless(self):
        assert judge_documents(get("pep8"), [""]) == [Judgement(0.0, [])]


class TestPep8:
    def test_by_hand(self):
        # "x = 1" has no newline at its end: W292, one violation in five characters.
        assert judge_documents(get("pep8"), ["x = 1"]) == [Judgement(1 / 5, [Span(0, 5, 1 / 5)])]

    def test_of_each_line(self):
        # "import os, sys\n" (15): E401; "x=1\n" (4): E225; 2 of 19
        [found] = judge_documents(get("pep8"), ["import os, sys\nx=1\n"])
        assert found == Judgement(2 / 19, [Span(0, 15, 1 / 15), Span(15, 19, 1 / 4)])

    def test_what_does_not_parse_is_counted_too(self):
        [found] = judge_documents(get("pep8"), ["def f(:\n"])
        assert isinstance(found, Judgement)
        assert found.score > 0

    def test_equal_to_pycodestyle_itself_on_the_library(self):
        import pycodestyle

        for name in ("json/decoder.py", "textwrap.py", "this.py"):
            path = Path(sysconfig.get_paths()["stdlib"]) / name
            style = pycodestyle.StyleGuide(config_file=False, quiet=2)
            # Its report counts a code once a line, as it prints it; ours every finding.
            least = style.check_files([str(path)]).total_errors
            text = path.read_text(encoding="utf-8")
            [found] = judge_documents(get("pep8"), [text])
            assert isinstance(found, Judgement)
            assert round(found.score * len(text)) == pytest.approx(least, abs=0)
            assert "".join(text[s.start : s.end] for s in found.spans) == text


class TestLexicon:
    def test_whole_words_whatever_their_case(self, tmp_path):
        words = tmp_path / "words.txt"
        words.write_text("# mild\nfool\nsilly goose\n")
        # "Fool" and "silly goose" in 30 characters; "foolish" is another word.
        text = "Fool! Not foolish, silly goose"
        [found] = judge_documents(get(f"lexicon:{words}"), [text])
        assert isinstance(found, Judgement)
        assert [span.score for span in found.spans] == [1 / 6, 1 / 24]

    @pytest.mark.parametrize("content", [None, "# only a comment\n"])
    def test_no_words(self, tmp_path, content):
        if content is not None:
            (tmp_path / "words.txt").write_text(content)
        with pytest.raises(UserError, match="one"):
            get(f"lexicon:{tmp_path / 'words.txt'}")

    def test_regex(self, tmp_path):
        assert get("regex:a+b")([""], ["aab ab b"]) == [2 / 8]
        with pytest.raises(UserError, match="no regular expression"):
            get("regex:(")


@pytest.fixture(scope="module")
def pii() -> Scorer:
    pytest.importorskip("presidio_analyzer")
    return get("pii")


class TestPII:
    @pytest.mark.parametrize(
        ("text", "num"),
        [
            ("nothing to see here", 0),
            ("write to someone@example.com", 1),
            ("call +1 (415) 555-2671 now", 1),
            ("card 4111 1111 1111 1111 ok", 1),
            ("host 192.168.0.1", 1),
            ("see https://example.org/page", 1),
            ("a@example.com and b@example.org", 2),
        ],
    )
    def test_findings_per_character(self, pii, text, num):
        assert pii([""], [text]) == [num / len(text)]

    def test_spans_are_sentences(self, pii):
        text = "All fine. Write to someone@example.com. Bye."
        [found] = judge_documents(pii, [text])
        assert isinstance(found, Judgement)
        assert "".join(text[s.start : s.end] for s in found.spans) == text
        assert found.spans[0].score == 0
        assert sum(span.score > 0 for span in found.spans) == 1

    def test_packages_that_are_not_here_are_named(self):
        for name, line in (("pii:scrubadub", "heedful[scrubadub]"), ("toxicity:original", "heedful[detoxify]")):
            with pytest.raises(UserError, match=line.replace("[", r"\[")):
                get(name)

    def test_a_model_that_spacy_lacks(self, pii):
        with pytest.raises(UserError, match="spaCy has no such model"):
            get("pii:no_such_model")
