"""Heedful's side: the pieces of `heed train`, in its order, with a clock between them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.corpus import BATCH, MAX_LENGTH, Corpus
from benchmarks.settings import LR, OURS, clock
from heedful.config import TrainConfig
from heedful.training.assemble import make_loop
from heedful.training.batches import StepBatch
from heedful.training.context import Context, reference_columns
from heedful.training.engine import wrap
from heedful.training.environment import environment
from heedful.training.loop import Loop
from heedful.training.metrics import read_metrics
from heedful.training.run_folder import begin_run, inspect_run
from heedful.training.train import prepare_run, resolve_objective
from heedful.training.world import start


@dataclass
class HeedRun:
    """One training run, prepared (data read and tokenised, model loaded) but not begun.

    work: holds the cache of tokens and references, and the run folder.
    """

    corpus: Corpus
    objective: str
    work: Path
    changed: dict[str, Any] = field(default_factory=dict)
    context: Context = field(init=False)
    loop: Loop = field(init=False)
    wall_s: float = field(init=False)

    def __post_init__(self) -> None:
        settings: dict[str, Any] = {
            "objective": {"name": self.objective, **OURS.get(self.objective, {})},
            "model": str(self.corpus.model(self.objective)),
            "data": str(self.corpus.rewards if self.objective == "a_lol" else self.corpus.pairs),
            "out": str(self.work / "run"),
            "cache_dir": str(self.work / "cache"),
            "batch_size": BATCH,
            "max_length": MAX_LENGTH,
            "lr": LR,
            "warmup": 0.0,
            "checkpoint_every": None,
            "device": "cpu",
            "overwrite": True,
        }
        config = TrainConfig.model_validate(settings | self.changed)
        world = start(config.engine, config.device, None)
        self.context = prepare_run(inspect_run(config), resolve_objective(config), world, lambda line: None)

    def prepare_loop(self) -> float:
        """Reference log-probabilities and the loop; returns the seconds that the former took."""
        context = self.context
        begin_run(context.path, context.config, environment(torch.get_num_threads()), context.data.to_json())
        module = wrap(context.loaded.model, context.world)
        began = clock()
        columns = reference_columns(context, module)
        reference_s = clock() - began
        self.loop = make_loop(context, module, columns)
        return reference_s

    def train(self) -> float:
        """The loop to its end, in seconds."""
        with self.loop as loop:
            began, wall = clock(), time.perf_counter()
            loop()
            train_s, self.wall_s = clock() - began, time.perf_counter() - wall
        return train_s

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one a step."""
        return read_metrics(self.context.path / "metrics.jsonl")

    def steps(self) -> list[StepBatch]:
        """All steps of the run, built anew."""
        loop = self.loop
        batches = (loop.sampler.batch(step) for step in range(loop.sampler.num_steps))
        return [loop.source.step(rows, loop.tokens_per_pack, 0, 1) for rows in batches]

    def facts(self, steps: list[StepBatch]) -> dict[str, Any]:
        """What the steps hold, and the share of the loop's time that its steps did not take: waiting for data."""
        rows = self.metrics()
        return {
            "steps": len(steps),
            "unique_tokens": sum(step.num_tokens for step in steps),
            "trained_tokens": sum(step.num_trained for step in steps),
            "packs": sum(len(step.packs) for step in steps),
            "waiting_share": round(max(0.0, 1 - sum(row["time_s"] for row in rows) / self.wall_s), 4),
        }
