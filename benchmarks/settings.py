"""Settings that all sides share."""

from __future__ import annotations

import os
import time

LR = 1e-4
CLIP = 1.0

CPU_TIME = "HEEDFUL_BENCH_CPU_TIME"
"""Set in the environment, clocks count processor time: on a busy machine and with one thread the lesser evil."""


def clock() -> float:
    """Seconds, from some moment on."""
    return time.process_time() if os.environ.get(CPU_TIME) else time.perf_counter()
