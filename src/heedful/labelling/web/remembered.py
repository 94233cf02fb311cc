"""Statistics of large projects, kept for a while: a manager's reload must not hold up those who label."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from heedful.labelling import agreement_tables, quality, sources
from heedful.labelling.database import Database, now
from heedful.labelling.projects import Project
from heedful.labelling.tables import event_head

QUICK_S = 0.5
"""Statistics that take no longer are always made anew."""
PATIENCE = 20
"""Others are kept for this many times as long as they took: at most a twentieth of a core goes into them."""

WAIT_S = 1.0
"""A page waits no longer: it shows older statistics, or says that they are being counted."""


@dataclass(frozen=True)
class Statistics:
    """agreement, people, sources: as of `at`.  event: the last one there was; kept_s: how long they are good."""

    agreement: dict[str, Any]
    people: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    at: float
    event: int
    kept_s: float


class Remembered:
    """What was counted, project by project.  It is counted again when something happened, and not by two at once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, wait_s: float = WAIT_S) -> None:
        self.clock, self.wait_s = clock, wait_s
        self._kept: dict[int, Statistics] = {}
        self._counting: dict[int, Future[Statistics]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "statistics")

    def statistics(self, db: Database, found: Project) -> Statistics | None:
        """As they are, or, where that takes long, as they were; None while they are counted for the first time."""
        with db.read() as connection:
            last = connection.execute(select(event_head.c.last)).scalar_one()
        end = time.monotonic() + self.wait_s
        while True:
            with self._lock:
                kept = self._kept.get(found.id)
                if kept is not None and (kept.event >= last or now() - kept.at < kept.kept_s):
                    return kept
                counting = self._counting.get(found.id)
                if counting is None:
                    counting = self._counting[found.id] = self._pool.submit(self._count, db, found)
            try:
                counting.result(max(0.0, end - time.monotonic()))
            except TimeoutError:
                return kept

    def _count(self, db: Database, found: Project) -> Statistics:
        try:
            with db.read() as connection:
                last = connection.execute(select(event_head.c.last)).scalar_one()
                made = self._kept[found.id] = self._made(connection, found, last)
                return made
        finally:
            with self._lock:
                del self._counting[found.id]

    def _made(self, connection: Connection, found: Project, last: int) -> Statistics:
        began = self.clock()
        agreement = agreement_tables.agreement_in(connection, found)
        people = quality.labellers(connection, found)
        strengths = sources.strengths(connection, found)
        took = self.clock() - began
        return Statistics(agreement, people, strengths, now(), last, PATIENCE * took if took > QUICK_S else 0.0)
