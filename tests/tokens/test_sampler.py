from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.tokens.sampler import Sampler, permutation, units_of
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
