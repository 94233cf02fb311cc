"""Which examples stand in batch t: a function of (seed, t), so that resuming is seeking.

The examples of epoch 0, 1, 2 … are laid one after the other, each epoch in an order of its own, and every example
takes as much of that line as it has units (1 prompt, K responses or its tokens).  Batch t holds the examples that
*start* in [t·B, (t+1)·B).  An epoch that does not divide by B runs on into the next: nothing is lost or repeated.

With weights, an epoch is drawn with replacement instead of put in order, and is as long as there are examples that can
be drawn; everything else stays.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Int64, UInt64

from heedful.tokens.packs import pack_lengths
from heedful.tokens.store import TokenStore
from heedful.types import UserError

Unit = Literal["prompts", "responses", "tokens", "sequences"]


class Sampler:
    """Batches of example rows.

    units (E,): how many units each example takes; see `units_of`.  unit: what they are called, for messages.
    batch_size: units in a batch; a batch of whole examples misses it by less than one example.
    epochs, steps: exactly one; a last batch that would run past `epochs` is cut short there.
    weights (E,): draw examples in proportion to these, with replacement; each must take one unit.
    in_order: take the examples as they lie, in every epoch.
    skip: units of the line before batch 0, which an earlier run took; `epochs` counts them, `steps` does not.
    Raises UserError if there are no examples (that can be drawn), or one is longer than a batch.
    """

    def __init__(
        self,
        units: Int[np.ndarray, " E"],
        *,
        batch_size: int,
        unit: Unit = "prompts",
        seed: int = 0,
        epochs: float | None = None,
        steps: int | None = None,
        weights: Float[np.ndarray, " E"] | None = None,
        in_order: bool = False,
        skip: int = 0,
    ):
        self.units = np.asarray(units, np.int64)
        if len(self.units) == 0:
            raise UserError("There are no examples to train on.")
        if batch_size < self.units.max():
            raise UserError(
                f"batch_size={batch_size} {unit} is less than one example takes ({self.units.max()} {unit}); "
                f"raise batch_size to {self.units.max()} or more."
            )
        if (epochs is None) == (steps is None):
            raise UserError("Give the length of the run either as epochs or as steps (one of them).")
        if (epochs if steps is None else steps) <= 0:  # pyright: ignore[reportOptionalOperand]
            raise UserError(f"The run's length must be positive, not epochs={epochs}, steps={steps}.")
        self.batch_size, self.seed, self.in_order, self.skip = batch_size, seed, in_order, skip
        self.mass = None if weights is None else np.cumsum(np.asarray(weights, np.float64))
        self.num_drawable = len(self.units) if weights is None else int(np.count_nonzero(weights))
        if self.num_drawable == 0:
            raise UserError("No response can be drawn: none has an advantage or reward (see sampling_by) above 0.")
        assert weights is None or (self.units == 1).all()
        self.units_per_epoch = int(self.units.sum()) if weights is None else self.num_drawable
        self._cached: tuple[int, np.ndarray, np.ndarray] | None = None
        self._end: int | None = None
        if steps is not None:
            self.num_steps = steps
        else:
            assert epochs is not None
            self._end = max(1, round(epochs * self.units_per_epoch))
            self.num_steps = math.ceil((self._end - skip) / batch_size)
            if self.num_steps <= 0:
                raise UserError(f"epochs={epochs} are {self._end:,} {unit}, of which {skip:,} are skipped; give more.")
            if len(self.batch(self.num_steps - 1)) == 0:  # its units are the tail of an example begun earlier
                self.num_steps -= 1

    def batch(self, t: int) -> Int64[np.ndarray, " n"]:
        """Rows of the examples in step `t` (from 0), whatever was asked before."""
        if not 0 <= t < self.num_steps:
            raise IndexError(f"step {t} of {self.num_steps}")
        start, stop = self.skip + t * self.batch_size, self.skip + (t + 1) * self.batch_size
        if self._end is not None:
            stop = min(stop, self._end)
        parts = []
        for epoch in range(start // self.units_per_epoch, (stop - 1) // self.units_per_epoch + 1):
            order, starts = self._epoch(epoch)
            first, last = np.searchsorted(starts, (start, stop))
            parts.append(order[first:last])
        return np.concatenate(parts)

    def epoch(self, t: int) -> float:
        """Passes over the data before step `t`."""
        return (self.skip + t * self.batch_size) / self.units_per_epoch

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of an epoch and where on the line each example starts."""
        if self._cached is None or self._cached[0] != epoch:
            if self.in_order:
                order = np.arange(len(self.units))
            elif self.mass is None:
                order = permutation(len(self.units), self.seed, epoch)
            else:
                order = draws(self.mass, self.num_drawable, self.seed, epoch)
            ends = np.cumsum(self.units[order])
            self._cached = (epoch, order, epoch * self.units_per_epoch + ends - self.units[order])
        return self._cached[1], self._cached[2]


def units_of(store: TokenStore, unit: Unit) -> Int64[np.ndarray, " E"]:
    """How many prompts (1), responses or tokens each example counts for in a batch; mismatched answers do not.

    A sequence is what a document, or a piece of it, became.
    """
    if unit in ("prompts", "sequences"):
        return np.ones(store.num_examples, np.int64)
    if unit == "responses":
        return store.sum_by_example(~store.is_mismatched)
    if unit == "tokens":
        return pack_lengths(store)[0]
    raise UserError(f"The unit of a batch is prompts, responses, tokens or sequences, not {unit!r}.")


def permutation(n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """A permutation of 0 … n-1 that depends on (n, seed, epoch) alone, the same on every machine and numpy.

    Sorts by the hash of the index.
    """
    return np.argsort(_hashes(n, seed, epoch), kind="stable")


def draws(mass: Float[np.ndarray, " E"], n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """n independent draws of 0 … E-1, with replacement, the j-th a function of (mass, seed, epoch, j) alone.

    mass: running sums of the weights.  Row i is drawn where u·total lies in [mass[i-1], mass[i]), which is empty for a
    weight of 0.
    """
    uniform = (_hashes(n, seed, epoch) >> np.uint64(11)) * 2.0**-53
    last = np.searchsorted(mass, mass[-1])  # the last row with a weight, where rounding reaches the total
    return np.minimum(np.searchsorted(mass, uniform * mass[-1], side="right"), last)


def _hashes(n: int, seed: int, epoch: int) -> UInt64[np.ndarray, " n"]:
    """SplitMix64 (Steele, Lea, Flood 2014) of 0 … n-1, salted with seed and epoch."""
    with np.errstate(over="ignore"):
        salt = _mix(np.uint64(seed & (2**64 - 1)) + _GOLDEN) ^ _mix(np.uint64(epoch) * _GOLDEN + np.uint64(1))
        return _mix(np.arange(n, dtype=np.uint64) * _GOLDEN + salt)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
