"""The mismatched answers: a seeded derangement over prompts."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.examples import attach_mismatched, to_singles
from heedful.types import Example, UserError
from tests.examples.makers import pair, single

numbers = st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda drawn: len(set(drawn)) > 1)


def asked(answer: str) -> str:
    """The prompt an answer of `data` belongs to."""
    return answer.split(":")[0]


def data_of(drawn: list[int]) -> list[Example]:
    return [single(f"p{number}", f"p{number}:{i}", desirable=True) for i, number in enumerate(drawn)]


@given(numbers, st.integers(0, 2**32))
def test_no_prompt_meets_an_answer_of_its_own(drawn: list[int], seed: int) -> None:
    data = data_of(drawn)
    before = copy.deepcopy(data)
    shaped = attach_mismatched(data, seed)
    assert data == before
    assert len(shaped.examples) == len(data)
    donors: dict[str, str] = {}
    for old, new in zip(data, shaped.examples, strict=True):
        *own, mismatched = new.responses
        assert own == old.responses
        assert mismatched.extra == {"mismatched": True}
        assert mismatched.desirable is None
        prompt = new.prompt[0].content
        assert asked(mismatched.text) != prompt
        assert donors.setdefault(prompt, asked(mismatched.text)) == asked(mismatched.text)
    assert sorted(donors.values()) == sorted(donors)  # a permutation of the prompts
    assert attach_mismatched(data, seed) == shaped


def test_two_prompts_can_only_swap() -> None:
    shaped = attach_mismatched(data_of([0, 1]), 0)
    assert [example.responses[-1].text for example in shaped.examples] == ["p1:1", "p0:0"]


def test_seeds_differ_and_every_answer_can_be_drawn() -> None:
    data = data_of([0, 1, 2, 3, 3, 3])
    drawn = {tuple(e.responses[-1].text for e in attach_mismatched(data, seed).examples) for seed in range(60)}
    assert len(drawn) == 18  # (4 - 1)! circles of four prompts, times three answers to the last prompt
    assert {f"p3:{i}" for i in (3, 4, 5)} <= {answer for answers in drawn for answer in answers}


def test_both_answers_of_a_pair_serve() -> None:
    singles = to_singles([pair("a", "a:yes", "a:no"), pair("b", "b:yes", "b:no")])
    drawn = {singles.then(attach_mismatched, seed).examples[0].responses[-1].text for seed in range(20)}
    assert drawn == {"b:yes", "b:no"}
    assert singles.then(attach_mismatched, 0).notes == singles.notes


@pytest.mark.parametrize("drawn", [[], [1], [1, 1, 1]])
def test_fewer_than_two_prompts_are_refused(drawn: list[int]) -> None:
    with pytest.raises(UserError, match="different prompts, and mismatched answers"):
        attach_mismatched(data_of(drawn), 0)
