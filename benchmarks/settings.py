"""Settings that all sides share."""

from __future__ import annotations

import os
import time
from typing import Any

LR = 1e-4
CLIP = 1.0

OURS: dict[str, dict[str, Any]] = {
    "simpo": {"beta": 2.0, "gamma_beta_ratio": 0.5},
    "slic": {"delta": 1.0, "nll_weight": 0.0},
}
THEIRS: dict[str, dict[str, Any]] = {
    "simpo": {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
    "slic": {"loss_type": "hinge", "beta": 1.0, "cpo_alpha": 0.0},
}
"""The same loss in Heedful's words and in those of TRL's CPOTrainer.  (Its imitation term is a mean over tokens of the
batch and SLiC's a sum over those of a response, so both are left out.)"""

CPU_TIME = "HEEDFUL_BENCH_CPU_TIME"
"""Set in the environment, clocks count processor time: on a busy machine and with one thread the lesser evil."""


def clock() -> float:
    """Seconds, from some moment on."""
    return time.process_time() if os.environ.get(CPU_TIME) else time.perf_counter()
