from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.workflows.measure import expected_worst_of, ratio_difference


def test_hand_worked_worst_of_two():
    # Of {1, 2, 4}: the pairs have maxima 2, 4, 4, mean 10/3; minima 1, 1, 2, mean 4/3.
    assert expected_worst_of([4, 1, 2], 2, lower_is_better=True) == pytest.approx(10 / 3)
    assert expected_worst_of([4, 1, 2], 2, lower_is_better=False) == pytest.approx(4 / 3)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.data())
def test_worst_of_k_is_the_mean_over_all_subsets(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    for lower, worst in ((True, max), (False, min)):
        wanted = np.mean([worst(subset) for subset in itertools.combinations(scores, k)])
        assert expected_worst_of(scores, k, lower_is_better=lower) == pytest.approx(wanted, abs=1e-9)


def test_worst_of_k_extremes():
    many = list(range(20_000))
    assert expected_worst_of(many, 1, lower_is_better=True) == pytest.approx(np.mean(many))
    # The expected maximum of k draws from 0..n-1 is k(n+1)/(k+1) - 1.
    assert expected_worst_of(many, 25, lower_is_better=True) == pytest.approx(25 * 20_001 / 26 - 1)
    assert expected_worst_of(many, 20_000, lower_is_better=True) == 19_999
    assert math.isnan(expected_worst_of([1.0], 25, lower_is_better=True))


def test_a_constant_shift_has_a_tight_interval():
    old = np.arange(12.0).reshape(6, 2)
    ones = np.ones((6, 2))
    shift = ratio_difference((old - 3, ones), (old, ones), seed=0)
    assert (shift.value, shift.low, shift.high) == pytest.approx((-3, -3, -3))
    assert shift.excludes_zero


def test_hand_worked_bootstrap_of_two_prompts():
    # Differences by prompt are 0 and 2.  Resampling two prompts of two gives means 0, 1, 1, 2, a quarter each.
    new, old = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])
    found = ratio_difference((new, np.ones((2, 1))), (old, np.ones((2, 1))), seed=0, level=0.9)
    assert (found.value, found.low, found.high) == (1, 0, 2)
    assert not found.excludes_zero


def test_the_interval_is_that_of_prompts_not_of_samples():
    """Copying each sample a hundred times adds samples and no information."""
    rng = np.random.default_rng(0)
    new, old = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    few = ratio_difference((new, np.ones((40, 1))), (old, np.ones((40, 1))), seed=1)
    copies = [np.repeat(a, 100, axis=1) for a in (new, old)]
    many = ratio_difference((copies[0], np.ones((40, 100))), (copies[1], np.ones((40, 100))), seed=1)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_a_ratio_weighs_by_its_denominator():
    # 3 violations in 30 characters and 1 in 70: 4/100, against 0.
    new = (np.array([[3.0], [1.0]]), np.array([[30.0], [70.0]]))
    old = (np.zeros((2, 1)), np.ones((2, 1)))
    assert ratio_difference(new, old, seed=0).value == pytest.approx(0.04)


def test_coverage_is_about_what_it_says():
    """Of 200 experiments without any effect, about one in twenty finds one."""
    rng = np.random.default_rng(3)
    found = 0
    for seed in range(200):
        prompts = rng.normal(size=(60, 1))
        new, old = prompts + rng.normal(size=(60, 4)), prompts + rng.normal(size=(60, 4))
        ones = np.ones((60, 4))
        found += ratio_difference((new, ones), (old, ones), seed=seed, num_resamples=400).excludes_zero
    assert 2 <= found <= 22
