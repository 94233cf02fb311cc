"""Mismatched answers (KTO's) serve their example: they neither shorten it, nor drop it, nor count in its check."""

from __future__ import annotations

import pytest

from heedful.examples.mismatched import attach_mismatched
from heedful.examples.shape import Dropped, Shaped
from heedful.tokens.encoded import EncodedExample
from heedful.tokens.prepare import prepare
from heedful.types import Example, Message, Response
from tests.tokens.test_templates import answer, example, one, template, user, verbatim


def with_mismatched(made: Example, *messages: Message) -> Example:
    made.responses.append(Response(list(messages), extra={"mismatched": True}))
    return made


@pytest.mark.parametrize("words", [1, 3, 40, 400])
def test_the_example_is_what_it_is_without(words: int):
    t = template("chatml")
    turns = [user("first " * 10), answer("then"), user("second " * 10)]
    alone = one(t.encode([example(turns, answer("e e e"), answer("f"))], max_length=100))
    served = with_mismatched(example(turns, answer("e e e"), answer("f")), answer("word " * words))
    both = one(t.encode([served], max_length=100))
    assert both.prompt_ids.tolist() == alone.prompt_ids.tolist()
    assert [r.ids.tolist() for r in both.responses[:2]] == [r.ids.tolist() for r in alone.responses]
    assert both.dropped_turns == alone.dropped_turns
    assert both.longest <= 100
    whole = one(t.encode([with_mismatched(example(turns, answer("e")), answer("word " * words))], max_length=9000))
    kept = both.responses[2].ids
    assert kept.tolist() == whole.responses[1].ids.tolist()[: len(kept)]
    assert len(kept) == min(len(whole.responses[1].ids), 100 - len(both.prompt_ids))
    assert both.cut_mismatched == (len(kept) < len(whole.responses[1].ids))
    assert both.responses[2].trained.any()


def test_a_verbatim_prompt_is_not_cut_for_it():
    t = template("chatml")
    made = Example([verbatim("some words of a prompt ")], [Response([verbatim("an answer")])])
    alone = one(t.encode([Example(made.prompt, [*made.responses, *made.responses])], max_length=60))
    both = one(t.encode([with_mismatched(made, verbatim("another " * 50))], max_length=60))
    assert both.prompt_ids.tolist() == alone.prompt_ids.tolist()
    assert both.longest == 60


def test_an_answer_of_its_own_that_is_too_long_still_drops_it():
    [result] = template("chatml").encode(
        [with_mismatched(example([user("a")], answer("b " * 300)), answer("c"))], max_length=60
    )
    assert isinstance(result, Dropped)


def test_the_data_check_judges_an_examples_own_answers(tmp_path):
    """The same answer to two prompts is no answer twice; nor is a cut one without its end a fault."""
    singles = [example([user(question)], answer("the same")) for question in ("a", "b", "c")]
    long = example([user("d")], answer("long " * 60))
    for made in (*singles, long):
        made.responses[0].desirable = True
    shaped = Shaped([*singles, long]).then(attach_mismatched, 0)
    short = Shaped([with_mismatched(example([user("e" * 100)], answer("f")), answer("g " * 300)), *shaped.examples])
    store, report = prepare(short, template("chatml"), max_length=400, cache_dir=tmp_path)
    assert (report.errors, report.warnings) == ([], [])
    assert report.truncated["mismatched answers cut to fit"] >= 1
    assert int(store.is_mismatched.sum()) == 5


def test_equal_answers_to_one_prompt_are_still_told(tmp_path):
    twice = with_mismatched(example([user("a")], answer("b"), answer("b")), answer("c"))
    _, report = prepare(Shaped([twice]), template("chatml"), max_length=200, cache_dir=tmp_path)
    assert [(finding.code, finding.count) for finding in report.warnings] == [("equal_responses", 1)]


def test_copies_are_told_whatever_answers_serve_them(tmp_path):
    copies = [with_mismatched(example([user("a")], answer("b")), answer(other)) for other in ("c", "d")]
    _, report = prepare(Shaped(copies), template("chatml"), max_length=200, cache_dir=tmp_path)
    assert [(finding.code, finding.count) for finding in report.warnings] == [("duplicates", 1)]


def test_nothing_of_it_is_cut_where_it_fits():
    made = with_mismatched(example([user("a")], answer("b")), answer("c"))
    result = one(template("chatml").encode([made], max_length=200))
    assert isinstance(result, EncodedExample)
    assert not result.cut_mismatched
