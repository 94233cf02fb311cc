"""Whole runs in this process, on tiny models and a handful of pairs: what each takes is a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heedful.config import TrainConfig
from heedful.training import train
from heedful.training.loop import Loop
from heedful.training.metrics import lasting, read_metrics
from tests.end_to_end.runs import write_pairs
from tests.fakes import save_tiny_model


def small_config(place: Path, objective: Any, out: str, **settings: Any) -> TrainConfig:
    """Settings of a run in `place`, whose model (`model`) and pairs are made if they are not there."""
    if not (place / "pairs.jsonl").exists():
        write_pairs(place / "pairs.jsonl")
    if not (place / "model").exists():
        save_tiny_model(place / "model")
    chosen: dict[str, Any] = {"batch_size": 4, "steps": 4, "checkpoint_every": 2, "lr": 1e-3, "threads": 1}
    chosen |= {"max_length": 128, "tokens_per_pack": 400, "cache_dir": str(place / "cache"), "device": "cpu"}
    chosen |= {"model": str(place / "model"), "data": str(place / "pairs.jsonl"), **settings}
    return TrainConfig(objective=objective, out=str(place / out), **chosen)


def small_run(place: Path, objective: Any, out: str, **settings: Any) -> Path:
    """Train, and give the run folder."""
    return train(small_config(place, objective, out, **settings), echo=lambda line: None)


def broken_run(place: Path, objective: Any, out: str, *, step: int = 3, **settings: Any) -> Path:
    """A run that breaks off before its step `step` + 1 and is continued from its last checkpoint."""
    broke = False
    try:
        with failing_at(step):
            small_run(place, objective, out, **settings)
    except Fault:
        broke = True
    assert broke
    assert not (place / out / "final").exists()
    return small_run(place, objective, out, **settings)


class Fault(RuntimeError):
    """Not our mistake, nor the user's."""


@contextmanager
def failing_at(step: int) -> Iterator[None]:
    """Runs end with a Fault instead of their step `step` + 1."""
    original = Loop.one_step

    def one_step(self: Loop, batch: Any) -> None:
        if self.trainer.step == step:
            raise Fault("the machine went away")
        original(self, batch)

    Loop.one_step = one_step  # type: ignore[method-assign]
    try:
        yield
    finally:
        Loop.one_step = original  # type: ignore[method-assign]


def rows(run: Path, *without: str) -> list[dict[str, Any]]:
    """The run's metrics but those that two equal runs may differ in, and those named."""
    return [lasting(row, *without) for row in read_metrics(run / "metrics.jsonl")]


def steps(run: Path) -> list[dict[str, Any]]:
    """The rows of training steps."""
    return [row for row in rows(run) if "loss" in row]


def losses(run: Path) -> list[float]:
    """Training losses."""
    return [row["loss"] for row in steps(run)]
