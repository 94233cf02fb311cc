from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.tokens.sampler import Sampler, draws, permutation, units_of
from heedful.types import UserError
from tests.tokens.makers import encoded, store_of

units = st.lists(st.integers(1, 20), min_size=1, max_size=40).map(np.array)


@given(units=units, extra=st.integers(0, 50), seed=st.integers(0, 2**40), epochs=st.integers(1, 4))
def test_each_epoch_is_a_permutation_and_nothing_is_lost(units, extra, seed, epochs):
    sampler = Sampler(units, batch_size=int(units.max()) + extra, seed=seed, epochs=epochs)
    rows = np.concatenate([sampler.batch(t) for t in range(sampler.num_steps)])
    assert len(rows) == epochs * len(units)
    for epoch in rows.reshape(epochs, len(units)):
        assert sorted(epoch) == list(range(len(units)))


@given(units=units, extra=st.integers(0, 50), seed=st.integers(0, 100))
def test_a_batch_does_not_depend_on_what_was_asked_before(units, extra, seed):
    size = int(units.max()) + extra
    sampler = Sampler(units, batch_size=size, seed=seed, steps=12)
    forwards = [sampler.batch(t).tolist() for t in range(12)]
    backwards = [Sampler(units, batch_size=size, seed=seed, steps=12).batch(t).tolist() for t in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert forwards[7] == Sampler(units, batch_size=size, seed=seed, steps=9).batch(7).tolist()


@given(units=units, extra=st.integers(0, 50))
def test_batches_hold_what_was_asked_for_but_for_less_than_one_example(units, extra):
    size = int(units.max()) + extra
    sampler = Sampler(units, batch_size=size, steps=10)
    for t in range(10):
        assert abs(units[sampler.batch(t)].sum() - size) < units.max()


def test_the_last_partial_batch_of_an_epoch_runs_on_into_the_next():
    sampler = Sampler(np.ones(5, int), batch_size=3, epochs=2)
    assert [len(sampler.batch(t)) for t in range(sampler.num_steps)] == [3, 3, 3, 1]
    assert [sampler.epoch(t) for t in range(4)] == [0.0, 0.6, 1.2, 1.8]


def test_part_of_an_epoch():
    sampler = Sampler(np.ones(10, int), batch_size=2, epochs=0.5)
    assert sampler.num_steps == 3
    assert sum(len(sampler.batch(t)) for t in range(sampler.num_steps)) == 5


def test_epochs_and_seeds_differ():
    orders = {tuple(permutation(20, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_the_order_is_fixed_for_good():
    # Computed once; a change here means that no interrupted run can be resumed.
    assert permutation(8, 1, 2).tolist() == [7, 4, 5, 2, 6, 1, 0, 3]


def test_permutations_look_random():
    # Mean position of an index over 4,000 orders of 10: 4.5, standard error sqrt(99/12/4000) = 0.045.
    positions = np.array([np.argsort(permutation(10, 3, epoch)) for epoch in range(4000)])
    assert np.abs(positions.mean(axis=0) - 4.5).max() < 5 * 0.045


def test_units_of_a_store(tmp_path):
    pair = encoded([1, 2], ([3], [True]), ([4, 5], [True, True]))
    store = store_of(tmp_path / "s", [pair, encoded([1], ([2], [True]))])
    assert units_of(store, "prompts").tolist() == [1, 1]
    assert units_of(store, "responses").tolist() == [2, 1]
    assert units_of(store, "tokens").tolist() == [5, 2]
    with pytest.raises(UserError, match="not 'pairs'"):
        units_of(store, "pairs")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 2}, "raise batch_size to 4"),
        ({"epochs": 1}, "either as epochs or as steps"),
        ({"steps": None}, "either as epochs or as steps"),
        ({"steps": 0}, "positive"),
    ],
)
def test_mistakes(change, words):
    settings = {"batch_size": 8, "steps": 5} | change
    with pytest.raises(UserError, match=words):
        Sampler(np.array([4, 1]), **settings)


def test_no_examples():
    with pytest.raises(UserError, match="no examples"):
        Sampler(np.array([], int), batch_size=1, epochs=1)


priorities = st.lists(st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=40).filter(any).map(np.array)


@given(weights=priorities, size=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_draws_are_a_function_of_the_seed_and_the_step(weights, size, seed):
    def sampler(steps=9):
        return Sampler(np.ones(len(weights), int), batch_size=size, seed=seed, steps=steps, weights=weights)

    forwards = [sampler().batch(t).tolist() for t in range(9)]
    assert forwards == [sampler(12).batch(t).tolist() for t in reversed(range(9))][::-1]
    assert all(len(rows) == size for rows in forwards)
    assert all(weights[row] > 0 for rows in forwards for row in rows)


def test_draws_are_in_proportion_to_the_weights():
    weights = np.array([0.0, 1.0, 0.0, 3.0, 4.0, 0.0])
    sampler = Sampler(np.ones(6, int), batch_size=8000, seed=5, steps=1, weights=weights)
    shares = np.bincount(sampler.batch(0), minlength=6) / 8000
    # Standard error of a share of 1/2 over 8,000 draws: sqrt(0.25 / 8000) = 0.0056.
    assert shares == pytest.approx(weights / 8, abs=5 * 0.0056)
    assert (shares[weights == 0] == 0).all()


def test_an_epoch_of_draws_is_as_long_as_there_are_examples_to_draw():
    weights = np.array([0.0, 1.0, 0.0, 3.0, 4.0, 0.0, 1.0])
    sampler = Sampler(np.ones(7, int), batch_size=2, epochs=3, weights=weights)  # 4 of 7 can be drawn: 12 draws
    assert sampler.num_steps == 6
    assert sampler.epoch(6) == 3.0
    with pytest.raises(UserError, match="No response can be drawn"):
        Sampler(np.ones(2, int), batch_size=2, steps=1, weights=np.zeros(2))


def test_a_total_that_rounding_reaches_is_the_last_row_with_a_weight():
    mass = np.cumsum([0.0, 3.0, 0.0])
    assert {int(row) for seed in range(50) for row in draws(mass, 50, seed, 0)} == {1}


def test_the_draws_are_fixed_for_good():
    # Computed once; a change here means that no interrupted run can be resumed.
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    sampler = Sampler(np.ones(4, int), batch_size=8, seed=1, steps=2, weights=weights)
    assert sampler.batch(1).tolist() == [3, 3, 2, 3, 0, 3, 1, 1]
