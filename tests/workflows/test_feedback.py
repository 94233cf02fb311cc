from __future__ import annotations

from heedful.scorers import SCORERS
from heedful.types import TEXT, Example, Message, Response
from heedful.workflows.feedback import make_pairs

TIDY = "    return a + b\n"
TIDIER_LONG = "    first = a + b\n    return first * 2\n"
UNTIDY = "    c=a\n    return c\n"
BROKEN = "    return (a +\n"


def example(*bodies: str, unfinished: tuple[int, ...] = ()) -> Example:
    responses = [Response([Message(TEXT, b)], extra={"finished": i not in unfinished}) for i, b in enumerate(bodies)]
    return Example([Message(TEXT, "def f(a, b):\n")], responses, id="x")


def texts(*examples: Example, **settings) -> list[tuple[str, str]]:
    pairs, _ = make_pairs(examples, SCORERS["pep8"], **settings)
    return [(p.responses[0].text, p.responses[1].text) for p in pairs]


def test_tidy_is_chosen_over_untidy_and_over_broken():
    assert texts(example(UNTIDY, TIDY)) == [(TIDY, UNTIDY)]
    assert texts(example(BROKEN, TIDY)) == [(TIDY, BROKEN)]


def test_untidy_code_goes_before_a_failure():
    assert texts(example(BROKEN, UNTIDY, TIDY), pairs_per_prompt=1) == [(TIDY, UNTIDY)]


def test_no_body_is_in_two_pairs():
    assert texts(example(TIDY, BROKEN, UNTIDY)) == [(TIDY, UNTIDY)]
    assert texts(example(TIDY, BROKEN, UNTIDY, TIDY)) == [(TIDY, UNTIDY), (TIDY, BROKEN)]


def test_a_failure_is_never_chosen():
    assert texts(example(BROKEN, "", "    return b)\n")) == []
    assert texts(example(TIDY, TIDY)) == []  # and equals are no pair
    assert texts(example(TIDY, UNTIDY, unfinished=(0,))) == [(UNTIDY, TIDY)]


def test_bodies_of_a_pair_are_of_like_length():
    assert texts(example(TIDIER_LONG, BROKEN)) == []
    assert texts(example(TIDIER_LONG, TIDY, BROKEN)) == [(TIDY, BROKEN)]


def test_pairs_say_which_is_better_and_counts_say_the_rest():
    pairs, counts = make_pairs([example(TIDY, BROKEN), example(TIDY)], SCORERS["pep8"])
    assert [r.desirable for r in pairs[0].responses] == [True, False]
    assert pairs[0].better == 0
    assert (counts.num_prompts, counts.num_pairs, counts.num_prompts_without) == (2, 1, 1)
    assert (counts.chosen_characters, counts.rejected_characters) == (len(TIDY), len(BROKEN))
    assert counts.rejected_failures == 1
