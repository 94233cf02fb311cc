"""Work handed out piece by piece to processes of this machine, or to machines of a Ray cluster, results in order.

A worker that dies costs its piece another try, and after `TRIES` the piece is left to whoever asked; no more pieces are
in flight than workers can soon take.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import Any, NoReturn, TypeVar

from heedful.config.score import Engine
from heedful.types import RunError, UserError

TRIES = 3
POLL_S = 1.0
AHEAD = 2
"""Pieces in flight for each worker."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def give_up(*piece_and_settings: Any) -> NoReturn:
    """Raise RunError: workers died of the same piece again and again."""
    raise RunError(
        f"a worker process died {TRIES} times at the same place, for want of memory perhaps; what was "
        "finished is kept, and the same command with fewer workers goes on."
    )


def fan_out(
    work: Callable[..., Result],
    pieces: Iterable[Piece],
    settings: Sequence[Any],
    workers: int,
    engine: Engine,
    apart: Callable[..., Result] = give_up,
) -> Iterator[Result]:
    """work(piece, *settings) of every piece, in their order.

    With one worker all is done in this process.  apart: is asked in its stead about a piece during which worker
    processes died again and again.  Raises RunError if those of Ray do, UserError if Ray is asked for and not
    installed.
    """
    if engine == "ray":
        return _by_ray(work, pieces, settings, workers)
    if workers == 1:
        return (work(piece, *settings) for piece in pieces)
    return _by_processes(work, pieces, settings, workers, apart)


def alone(work: Callable[..., Result], *settings: Any) -> Result | None:
    """work(*settings) in a process of its own; None if that process died."""
    with _pool(1) as pool:
        try:
            return pool.submit(work, *settings).result()
        except BrokenProcessPool:
            return None


def _by_processes(
    work: Callable[..., Result],
    pieces: Iterable[Piece],
    settings: Sequence[Any],
    workers: int,
    apart: Callable[..., Result],
) -> Iterator[Result]:
    source, taken = iter(pieces), deque[Piece]()  # without a result so far
    flying = deque[Future[Result]]()  # of the first of them
    pool, tries = _pool(workers), 0
    try:
        while True:
            if tries == TRIES:
                result = apart(taken[0], *settings)
            else:
                try:
                    while len(taken) < AHEAD * workers and (piece := next(source, None)) is not None:
                        taken.append(piece)
                    for piece in list(taken)[len(flying) :]:
                        flying.append(pool.submit(work, piece, *settings))
                    if not taken:
                        return
                    result = flying[0].result()
                except BrokenProcessPool:
                    tries += 1
                    pool.shutdown(cancel_futures=True)
                    pool = _pool(workers)  # whose processes start with the first piece
                    flying.clear()
                    continue
                flying.popleft()
            taken.popleft()
            tries = 0
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def worker_number() -> int:
    """Of this process among the workers of its pool, from 0; 0 outside of any."""
    return _number


_number = 0


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    begun = context.Value("i", 0)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(), begun))


def _begin(parent: int, begun: Any) -> None:
    """One thread a worker: several that each take every core only wait for one another.  It ends with its parent.

    begun: how many workers of the pool began before.
    """
    global _number
    with begun.get_lock():
        _number, begun.value = begun.value, begun.value + 1
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def _by_ray(
    work: Callable[..., Result], pieces: Iterable[Piece], settings: Sequence[Any], workers: int
) -> Iterator[Result]:
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise UserError("engine=ray needs Ray: pip install 'heedful[ray]'") from None
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False)
    remote = ray.remote(max_retries=TRIES)(work)
    source, flying = iter(pieces), deque[Any]()
    while True:
        while len(flying) < AHEAD * workers and (piece := next(source, None)) is not None:
            flying.append(remote.remote(piece, *settings))
        if not flying:
            return
        try:
            yield ray.get(flying.popleft())
        except ray.exceptions.WorkerCrashedError:
            raise RunError("a Ray worker died again and again; what was finished is kept.") from None
