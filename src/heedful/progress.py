"""What a person sees while a run goes on: one line a few seconds, with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from heedful.types import Echo

INTERVAL_S = 5.0


class Progress:
    """Prints a line when the last is some seconds old, and always the first and the last step."""

    def __init__(self, num_steps: int, start: int, echo: Echo) -> None:
        self.num_steps, self.start, self.echo = num_steps, start, echo
        self.began = time.monotonic()
        self.printed = -INTERVAL_S

    def step(self, step: int, row: dict[str, Any]) -> None:
        """One optimizer step was done."""
        now = time.monotonic() - self.began
        if now - self.printed < INTERVAL_S and step not in (self.start + 1, self.num_steps):
            return
        self.printed = now
        left = now / (step - self.start) * (self.num_steps - step)
        shown = [f"step {step}/{self.num_steps}", f"loss {row['loss']:.4f}"]
        for key in ("train/rewards/accuracies", "train/rewards/margins", "train/kl"):
            if row.get(key) is not None:
                shown.append(f"{key.rsplit('/', 1)[1]} {row[key]:.3f}")
        shown += [f"{row['tokens_per_s']:,.0f} tokens/s", f"{duration(left)} left"]
        self.echo("  ".join(shown))

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """An evaluation was done."""
        self.echo(f"step {step}/{self.num_steps}  " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counting(what: str, echo: Echo) -> Callable[[int, int], None]:
    """Called with how many are done and how many there are, prints a line with the time left every few seconds."""
    began = printed = time.monotonic()

    def count(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= INTERVAL_S and done < total:
            printed = now
            echo(f"{done:,} of {total:,} {what}  {duration((now - began) / done * (total - done))} left")

    return count
