"""Work in processes that die: every piece comes back once, in order."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from heedful.types import RunError
from heedful.workflows import fan_out as module


class Pool:
    """A pool that breaks at the calls of `submit` with these numbers; what it took before them is done at once."""

    calls = 0

    def __init__(self, breaks: set[int]) -> None:
        self.breaks = breaks

    def submit(self, work, piece, *settings) -> Future:
        Pool.calls += 1
        if Pool.calls in self.breaks:
            raise BrokenProcessPool
        done: Future = Future()
        done.set_result(work(piece, *settings))
        return done

    def shutdown(self, **how) -> None:
        """Nothing runs."""


@pytest.mark.parametrize("breaks", [set(), {1}, {3}, {4, 5}, {3, 9, 14}, {20}])
def test_no_piece_is_lost_when_the_pool_breaks_as_one_is_handed_in(monkeypatch, breaks):
    Pool.calls = 0
    monkeypatch.setattr(module, "_pool", lambda workers: Pool(breaks))
    found = module.fan_out(lambda piece, by: piece * by, iter(range(10)), (2,), 2, "processes")
    assert list(found) == [2 * piece for piece in range(10)]


def test_a_pool_that_breaks_again_and_again_is_given_up(monkeypatch):
    Pool.calls = 0
    monkeypatch.setattr(module, "_pool", lambda workers: Pool(set(range(2, 99))))
    with pytest.raises(RunError, match="died 3 times"):
        list(module.fan_out(lambda piece: piece, iter(range(10)), (), 2, "processes"))


def test_a_piece_of_which_workers_die_again_and_again_is_left_to_whoever_asked(monkeypatch):
    Pool.calls = 0
    monkeypatch.setattr(module, "_pool", lambda workers: Pool({5, 6, 7, 20}))
    left = []

    def apart(piece: int, by: int) -> int:
        left.append(piece)
        return -piece

    found = module.fan_out(lambda piece, by: piece * by, iter(range(10)), (2,), 2, "processes", apart)
    assert [abs(one) for one in found] == [one if one in left else 2 * one for one in range(10)]
    assert len(left) == 1
