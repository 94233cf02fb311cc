from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.tokens.planning import fill, plan_packs, sequential_packs


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=40),
    budget=st.integers(500, 3000),
    world=st.integers(1, 5),
)
def test_every_example_once_within_the_budget_and_as_many_packs_on_every_rank(lengths, budget, world):
    plan = plan_packs(np.array(lengths), budget, world)
    assert len(plan) == world
    assert len({len(packs) for packs in plan}) == 1
    packs = list(itertools.chain(*plan))
    assert sorted(itertools.chain(*packs)) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in pack) <= budget for pack in packs)


def test_as_few_packs_as_fit():
    assert len(plan_packs(np.array([400, 300, 300, 200, 400, 400]), 1000, 1)[0]) == 2  # 2,000 tokens, two full packs


def test_swaps_find_what_longest_first_misses():
    # Longest first: {8, 5, 4} and {7, 6}, 17 against 13; the best is {8, 7} and {6, 5, 4}, 15 and 15.
    plan = plan_packs(np.array([8, 7, 6, 5, 4]), 16, 1)
    assert fill(np.array([8, 7, 6, 5, 4]), plan) == 1.0


@given(st.lists(st.integers(50, 400), min_size=3, max_size=8), st.integers(500, 900))
def test_no_way_to_fill_that_many_packs_is_much_better(lengths, budget):
    plan = plan_packs(np.array(lengths), budget)
    n = len(plan[0])
    if n > 3:
        return
    best = min(
        max(sum(length for length, j in zip(lengths, where, strict=True) if j == pack) for pack in range(n))
        for where in itertools.product(range(n), repeat=len(lengths))
    )
    longest = max(sum(lengths[i] for i in pack) for pack in plan[0])
    assert longest <= 1.12 * best


def test_packs_that_run_side_by_side_are_nearly_equal():
    lengths = np.random.default_rng(0).integers(50, 700, size=64)
    plan = plan_packs(lengths, 1024, 4)
    totals = np.array([[lengths[pack].sum() for pack in packs] for packs in plan])
    assert (totals.max(axis=0) - totals.min(axis=0)).max() <= 0.05 * totals.max()


def test_a_rank_without_examples_gets_a_filler():
    plan = plan_packs(np.array([5]), 10, 3)
    assert sorted(plan, key=len) == [[[0]], [[]], [[]]]


def test_too_long_an_example_names_the_budget_that_fits():
    with pytest.raises(ValueError, match="tokens_per_pack=700"):
        plan_packs(np.array([700, 20]), 512, 1)


def test_a_whole_store_is_cut_in_its_own_order():
    lengths = np.array([4, 5, 3, 12, 2])
    assert sequential_packs(lengths, 10) == [[[0, 1], [2], [3], [4]]]  # 9; 3, as 12 would pass; 12 alone; 2
    assert sequential_packs(lengths, 10, 3) == [[[0, 1], [4]], [[2], []], [[3], []]]
