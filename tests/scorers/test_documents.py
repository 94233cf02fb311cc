"""Documents judged: pieces, scores, failures."""

from __future__ import annotations

import math
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.scorers import get
from heedful.scorers.documents import Judgement, judge_documents, split_of
from heedful.scorers.identity import identity_of
from heedful.scorers.scorer import Scorer
from heedful.types import RunError, Span, UserError


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

    def test_a_run_of_marks_takes_no_longer_than_another_text(self):
        text = "." * 200_000 + "a"
        assert split_of(text, "sentences") == [text]


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

    def test_a_byte_order_mark_is_a_character_of_its_line(self):
        [found] = judge_documents(get("pep8"), ["\ufeffx=1\ny = 2\n"])
        assert isinstance(found, Judgement)
        assert [(span.start, span.end) for span in found.spans] == [(0, 5), (5, 11)]
        assert found.spans[1].score == 0

    def test_lines_asked_for_are_the_mean_of_the_lines(self):
        # 1/15 and 1/4, as above
        [found] = judge_documents(get("pep8"), ["import os, sys\nx=1\n"], "lines")
        assert isinstance(found, Judgement)
        assert found.score == pytest.approx((1 / 15 + 1 / 4) / 2)

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
        assert get("regex:(?i)A")([""], ["a b"]) == [1 / 3]
        assert get(r"regex:\.py:x")([""], ["a.py:x"]) == [1 / 6]
        assert get("regex:" + "a" * 5000)([""], ["b"]) == [0.0]
        (tmp_path / "patterns.txt").write_text("#b\nc+\n")
        name = f"regex:{tmp_path / 'patterns.txt'}"
        assert get(name)([""], ["#b cc b"]) == [2 / 7]
        before = identity_of(name)
        (tmp_path / "patterns.txt").write_text("#b\n")
        assert identity_of(name) != before

    def test_the_score_of_a_document_is_that_of_its_whole_text(self):
        # two matches in 8 characters; "a b. " has one in 5, "a b" one in 3
        [found] = judge_documents(get("regex:a"), ["a b. a b"])
        assert isinstance(found, Judgement)
        assert found.score == 2 / 8
        assert [span.score for span in found.spans] == [1 / 5, 1 / 3]

    def test_no_regex(self):
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
            ("see www.example.org now", 1),
            ("os.path is no address", 0),
            ("a@example.com and b@example.org", 2),
        ],
    )
    def test_findings_per_character(self, pii, text, num):
        assert pii([""], [text]) == [num / len(text)]

    def test_no_finding_hangs_on_the_date_of_today(self, pii):
        # Birthdays and ages count, or not, by how long ago they are: no detector of them takes part.
        texts = [f"born on 1 March {year}, and {age} years old" for year in range(1925, 2026, 5) for age in (9, 41)]
        assert not any(pii([""] * len(texts), texts))

    def test_the_published_recipes_backend(self):
        pytest.importorskip("scrubadub")
        found = get("pii:scrubadub")(["", ""], ["write to ann@example.com", "born on 1 March 1985, aged 41"])
        assert found == [1 / 24, 0]

    def test_spans_are_sentences(self, pii):
        text = "All fine. Write to someone@example.com. Bye."
        [found] = judge_documents(pii, [text])
        assert isinstance(found, Judgement)
        assert "".join(text[s.start : s.end] for s in found.spans) == text
        assert found.spans[0].score == 0
        assert sum(span.score > 0 for span in found.spans) == 1

    def test_packages_that_are_not_here_are_named(self):
        lines = {"pii:scrubadub": "heedful[scrubadub]", "toxicity:original": "heedful[detoxify]"}
        for name, line in lines.items():
            if find_spec(line[8:-1]) is not None:
                continue
            with pytest.raises(UserError, match=line.replace("[", r"\[")):
                get(name)

    def test_the_persons_and_organisations_of_a_spacy_model_count_too(self, pii, tmp_path):
        spacy = pytest.importorskip("spacy")
        pipeline = spacy.blank("en")
        named = {"PERSON": "Ann Smith", "ORG": "Acme", "GPE": "Oslo"}
        rules = [{"label": label, "pattern": text} for label, text in named.items()]
        pipeline.add_pipe("entity_ruler").add_patterns(rules)
        pipeline.to_disk(tmp_path / "names")
        # A person, an organisation and a mail address; a place is nobody.
        text = "Ann Smith of Acme in Oslo. Write to ann@example.com."
        assert pii([""], [text]) == [1 / len(text)]
        [found] = judge_documents(get(f"pii:{tmp_path / 'names'}"), [text])
        assert isinstance(found, Judgement)
        assert found.score == 3 / len(text)
        assert [span.score for span in found.spans] == [2 / 27, 1 / 25]

    def test_a_model_that_spacy_lacks(self, pii):
        with pytest.raises(UserError, match="spaCy has no such model"):
            get("pii:no_such_model")


class TestUsersOwn:
    def scorer(self, tmp_path: Path, body: str) -> Scorer:
        (tmp_path / "own.py").write_text(f"def own(prompts, responses):\n    {body}\n")
        return get(f"{tmp_path / 'own.py'}:own")

    def test_spans_of_its_own(self, tmp_path):
        body = "return [(0.5, [(0, 1, 1.0), (1, len(r), 0.0)]) for r in responses]\nown.split = 'own'"
        body += "\nown.lower_is_better = True"
        found = judge_documents(self.scorer(tmp_path, body), ["abc"])
        assert found == [Judgement(0.5, [Span(0, 1, 1.0), Span(1, 3, 0.0)])]

    def test_spans_that_do_not_tile_are_told(self, tmp_path):
        body = "return [(0.5, [(1, 2, 1.0)]) for r in responses]\nown.split = 'own'"
        [found] = judge_documents(self.scorer(tmp_path, body), ["abc"])
        assert "do not tile the text" in str(found)

    def test_another_split_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"own.split must be one of"):
            self.scorer(tmp_path, "return []\nown.split = 'words'")


def test_a_published_model_has_an_identity_without_being_here():
    assert identity_of("toxicity:original") != identity_of("toxicity:unbiased")


def test_a_scorer_that_gives_another_number_of_scores_is_no_texts_fault():
    mean = Scorer("mean", lambda prompts, responses: [0.0], True, None, "")
    with pytest.raises(RunError, match="returned 1 numbers for 3"):
        judge_documents(mean, ["a", "b", "c"])
    short = Scorer("short", lambda p, r: [0.0] * len(r), True, None, "", document=lambda texts: [(0.0, [])])
    with pytest.raises(RunError, match="judged 1 documents of 2"):
        judge_documents(short, ["a", "b"])


def test_a_blank_line_of_a_document_is_no_answer_that_failed():
    clean = Scorer("clean", lambda prompts, responses: [0.0] * len(responses), True, 1.0, "")
    assert clean([""], [" "]) == [1.0]
    [found] = judge_documents(clean, ["a\n\nb\n"], "lines")
    assert isinstance(found, Judgement)
    assert (found.score, [span.score for span in found.spans]) == (0.0, [0.0, 0.0, 0.0])
