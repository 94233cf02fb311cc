"""How often somebody may try to log in, and how often a program may ask.

Kept in this process: a server has one.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

REMEMBERED_S = 3600.0
"""For how long a failure counts."""
MANY = 10_000
"""Names and addresses that failed; when there are more, those are dropped whose failures no longer count."""

Clock = Callable[[], float]
"""Seconds since some moment."""


class Limiter:
    """After `times` tries that failed a name or an address waits `window_s` seconds, and after each more twice as long.

    The failures of the last hour count.
    """

    def __init__(self, times: int = 5, window_s: float = 60.0, clock: Clock = time.monotonic) -> None:
        self.times, self.window_s, self.clock = times, window_s, clock
        self._tries: dict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()

    def begin(self, *keys: str) -> float:
        """0 for a try that may be made; else how long these must wait.

        The try counts as failed from now on, so that those who try many at once gain nothing.
        """
        with self._lock:
            wait = max((self._wait(key) for key in keys), default=0.0)
            if wait == 0.0:
                if len(self._tries) > MANY:
                    self._forget()
                for key in keys:
                    self._tries[key].append(self.clock())
            return wait

    def succeeded(self, key: str, *others: str) -> None:
        """The try was none that failed: forget all of the key, and this one of the others."""
        with self._lock:
            self._tries.pop(key, None)
            for other in others:
                self._tries[other].pop()
                if not self._tries[other]:
                    del self._tries[other]

    def _wait(self, key: str) -> float:
        moment = self.clock()
        tries = [at for at in self._tries.get(key, []) if moment - at < REMEMBERED_S]
        if key in self._tries:
            self._tries[key] = tries
        over = len(tries) - self.times
        return max(0.0, tries[-1] + min(self.window_s * 2**over, REMEMBERED_S) - moment) if over >= 0 else 0.0

    def _forget(self) -> None:
        moment = self.clock()
        for key in [key for key, tries in self._tries.items() if not tries or moment - tries[-1] >= REMEMBERED_S]:
            del self._tries[key]


class Bucket:
    """Each key may ask `burst` times at once, and `per_s` times a second in the long run.

    Of each key the moment is kept at which its bucket is full again (the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(self, per_s: float = 100.0, burst: int = 500, clock: Clock = time.monotonic) -> None:
        self.per_s, self.burst, self.clock = per_s, burst, clock
        self._full: dict[int, float] = {}
        self._lock = threading.Lock()

    def wait_s(self, key: int) -> float:
        """0 for a request that is taken, and counted; else how long the key must wait before the next."""
        with self._lock:
            moment = self.clock()
            full = max(moment, self._full.get(key, moment))
            wait = full - moment - (self.burst - 1) / self.per_s
            if wait > 1e-9:
                return wait
            self._full[key] = full + 1 / self.per_s
            return 0.0
