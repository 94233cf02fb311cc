"""No prompt is in both halves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.examples import prompt_key, split_by_prompt
from heedful.types import Example, Response, UserError
from tests.examples.makers import single, text


def test_the_split_of_the_published_code() -> None:
    """Safe-RLHF, ten different prompts, seed 42, ratio 0.2: items 1 and 8 are held out."""
    data = [single(str(i)) for i in range(10)]
    train, held_out = split_by_prompt(data, 0.2, 42)
    assert held_out == [data[1], data[8]]
    assert train == [example for example in data if example not in held_out]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_no_prompt_is_in_both_halves_and_no_example_is_lost(numbers: list[int], fraction: float, seed: int) -> None:
    data = [single(f"p{n}", f"answer {i}") for i, n in enumerate(numbers)]
    num_prompts = len(set(numbers))
    if not 0 < round(num_prompts * fraction) < num_prompts:
        with pytest.raises(UserError, match="leaves none for"):
            split_by_prompt(data, fraction, seed)
        return
    train, held_out = split_by_prompt(data, fraction, seed)
    keys = {prompt_key(example) for example in held_out}
    assert keys.isdisjoint(prompt_key(example) for example in train)
    assert len(keys) == round(num_prompts * fraction)
    assert Counter(map(id, [*train, *held_out])) == Counter(map(id, data))
    assert split_by_prompt(data, fraction, seed) == (train, held_out)
    assert held_out == [example for example in data if prompt_key(example) in keys]


def test_documents_are_split_by_their_text() -> None:
    data = [Example([], [Response([text(f"document {i % 4}")])]) for i in range(8)]
    train, held_out = split_by_prompt(data, 0.5, 0)
    assert (len(train), len(held_out)) == (4, 4)
    assert {e.responses[0].text for e in train}.isdisjoint(e.responses[0].text for e in held_out)


def test_seeds_differ() -> None:
    data = [single(str(i)) for i in range(40)]
    assert split_by_prompt(data, 0.5, 0) != split_by_prompt(data, 0.5, 1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2])
def test_fractions_that_are_none(fraction: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        split_by_prompt([single("a"), single("b")], fraction, 0)
