"""Learning-rate schedules as pure functions of the step, so that a resumed run has nothing to restore."""

from __future__ import annotations

import math


def warmup_steps(warmup: float, num_steps: int) -> int:
    """Steps of warm-up: a fraction of the run below 1 (rounded to whole steps), a number of steps from 1 on."""
    return round(warmup * num_steps) if warmup < 1 else int(warmup)


def lr_factor(kind: str, step: int, num_steps: int, warmup: int) -> float:
    """What the learning rate is multiplied with at step `step` (counted from 0).

    Rises linearly to exactly 1 over `warmup` steps (the first step is not wasted on 0), then stays (`constant`), or
    falls to 0 at `num_steps` in a line (`linear`) or half a cosine (`cosine`).
    """
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    progress = (step - warmup) / max(1, num_steps - warmup)
    if kind == "linear":
        return max(0.0, 1.0 - progress)
    assert kind == "cosine", kind
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
