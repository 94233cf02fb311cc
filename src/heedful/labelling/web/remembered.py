"""Statistics of large projects, kept for a while: a manager's reload must not hold up those who label."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
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

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._kept: dict[int, Statistics] = {}
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def statistics(self, db: Database, found: Project) -> Statistics:
        """As they are, or as they were a short time ago."""
        with self._locks[found.id], db.read() as connection:
            last = connection.execute(select(event_head.c.last)).scalar_one()
            kept = self._kept.get(found.id)
            if kept is None or (kept.event != last and now() - kept.at >= kept.kept_s):
                kept = self._kept[found.id] = self._made(connection, found, last)
            return kept

    def _made(self, connection: Connection, found: Project, last: int) -> Statistics:
        began = self.clock()
        agreement = agreement_tables.agreement_in(connection, found)
        people = quality.labellers(connection, found)
        strengths = sources.strengths(connection, found)
        took = self.clock() - began
        return Statistics(agreement, people, strengths, now(), last, PATIENCE * took if took > QUICK_S else 0.0)
