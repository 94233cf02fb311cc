"""Which examples stand in batch t: a function of (seed, t), so that resuming is seeking.

The examples of epoch 0, 1, 2 … are laid one after the other, each epoch in an order of its own, and every example
takes as much of that line as it has units (1 prompt, K responses or its tokens).  Batch t holds the examples that
*start* in [t·B, (t+1)·B).  An epoch that does not divide by B runs on into the next: nothing is lost or repeated.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Int, Int64

from heedful.tokens.packs import pack_lengths
from heedful.tokens.store import TokenStore
from heedful.types import UserError

Unit = Literal["prompts", "responses", "tokens"]


class Sampler:
    """Batches of example rows.

    units (E,): how many units each example takes; see `units_of`.  unit: what they are called, for messages.
    batch_size: units in a batch; a batch of whole examples misses it by less than one example.
    epochs, steps: exactly one; a last batch that would run past `epochs` is cut short there.
    Raises UserError if there are no examples, or one is longer than a batch.
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
        self.batch_size, self.seed = batch_size, seed
        self.units_per_epoch = int(self.units.sum())
        self._cached: tuple[int, np.ndarray, np.ndarray] | None = None
        self._end: int | None = None
        if steps is not None:
            self.num_steps = steps
        else:
            assert epochs is not None
            self._end = max(1, round(epochs * self.units_per_epoch))
            self.num_steps = math.ceil(self._end / batch_size)
            if len(self.batch(self.num_steps - 1)) == 0:  # its units are the tail of an example begun earlier
                self.num_steps -= 1

    def batch(self, t: int) -> Int64[np.ndarray, " n"]:
        """Rows of the examples in step `t` (from 0), whatever was asked before."""
        if not 0 <= t < self.num_steps:
            raise IndexError(f"step {t} of {self.num_steps}")
        start, stop = t * self.batch_size, (t + 1) * self.batch_size
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
        return t * self.batch_size / self.units_per_epoch

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of an epoch and where on the line each example starts."""
        if self._cached is None or self._cached[0] != epoch:
            order = permutation(len(self.units), self.seed, epoch)
            ends = np.cumsum(self.units[order])
            self._cached = (epoch, order, epoch * self.units_per_epoch + ends - self.units[order])
        return self._cached[1], self._cached[2]


def units_of(store: TokenStore, unit: Unit) -> Int64[np.ndarray, " E"]:
    """How many prompts (1), responses or tokens each example counts for in a batch; mismatched answers do not."""
    if unit == "prompts":
        return np.ones(store.num_examples, np.int64)
    if unit == "responses":
        return store.sum_by_example(~store.is_mismatched)
    if unit == "tokens":
        return pack_lengths(store)[0]
    raise UserError(f"The unit of a batch is prompts, responses or tokens, not {unit!r}.")


def permutation(n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """A permutation of 0 … n-1 that depends on (n, seed, epoch) alone, the same on every machine and numpy.

    Sorts by the SplitMix64 hash of the index (Steele, Lea, Flood 2014), salted with seed and epoch.
    """
    with np.errstate(over="ignore"):
        salt = _mix(np.uint64(seed & (2**64 - 1)) + _GOLDEN) ^ _mix(np.uint64(epoch) * _GOLDEN + np.uint64(1))
        keys = _mix(np.arange(n, dtype=np.uint64) * _GOLDEN + salt)
    return np.argsort(keys, kind="stable")


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
