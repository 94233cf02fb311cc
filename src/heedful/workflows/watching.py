"""What `watch=` asks for: scenarios, segments and distances, looked at between the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig, WatchConfig
from heedful.evaluation.kl import ReferenceSample, divergence, reference_samples
from heedful.evaluation.scenarios import read_prompts, run_scenario
from heedful.rollouts.watch import Segment, WatchResult
from heedful.scorers import Scorer, get
from heedful.scorers.documents import judge_documents, scores_of
from heedful.tokens.templates import Template
from heedful.training.context import cache_folder
from heedful.training.world import choose_device
from heedful.types import Echo

PIECES, PIECE_CHARACTERS = 64, 120
"""Most that is kept of what a segment carried: its first pieces, the beginning of each."""


def make_watch(config: TrainConfig, echo: Echo = lambda line: None) -> RunWatch | None:
    """The watch that a run's settings ask for; None if they ask for none.

    Raises UserError for scorers, prompt files and references that are not there, before any model is trained.
    """
    if config.watch is None:
        return None
    return RunWatch(config.watch, cache_folder(config.cache_dir), config.seed, config.device, echo)


class RunWatch:
    """Runs the scenarios, scores segments again, and measures the distance; equal models give equal numbers."""

    def __init__(self, asked: WatchConfig, cache_dir: Path, seed: int, device: str, echo: Echo) -> None:
        self.asked, self.cache_dir, self.seed, self.echo = asked, cache_dir, seed, echo
        self.device = choose_device(device)
        self.scorer: Scorer | None = None if asked.scorer is None else get(asked.scorer, device=str(self.device))
        for scenario in asked.scenarios:
            read_prompts(scenario.prompts)
        if asked.kl is not None and asked.kl.reference is None:
            echo("no distance is measured: watch.kl.reference= names a model of yours, as FOLDER or URL#MODEL")
        self._samples: list[ReferenceSample] | None = None

    def __call__(self, step: int, model: Any, template: Template, segments: Sequence[Segment]) -> WatchResult:
        """Look at the model after `step` steps."""
        metrics: dict[str, float] = {}
        rows: list[dict[str, Any]] = []
        for scenario in self.asked.scenarios:
            assert self.scorer is not None
            found = run_scenario(model, template, self.scorer, scenario, seed=self.seed, split=self.asked.split)
            metrics |= {f"generation/{scenario.name}/{name}": value for name, value in found.metrics.items()}
            rows += [{"kind": "sample", "name": scenario.name, **row} for row in found.rows]
        if segments and self.scorer is not None:
            more, shown = self._segments(self.scorer, segments)
            metrics, rows = metrics | more, rows + shown
        if self.asked.kl is not None and self.asked.kl.reference is not None:
            kl = divergence(model, template, self._reference(), self.asked.kl.prefix, self.asked.kl.prefix_lines)
            metrics |= kl.metrics()
        return WatchResult(metrics, rows)

    def _reference(self) -> list[ReferenceSample]:
        if self._samples is None:
            assert self.asked.kl is not None
            self._samples = reference_samples(
                self.asked.kl, self.cache_dir, seed=self.seed, device=self.device, echo=self.echo
            )
        return self._samples

    def _segments(self, scorer: Scorer, segments: Sequence[Segment]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Trained sequences scored again, beside the scores and control tokens that they carried."""
        found = scores_of(judge_documents(scorer, [segment.text for segment in segments], self.asked.split))
        rows = [
            {
                "kind": "segment",
                "name": segment.origin,
                "prompt": " ".join(segment.controls),
                "text": segment.text,
                "score": score,
                "carried": float(np.mean(segment.scores)) if segment.scores else None,
                "pieces": [[text[:PIECE_CHARACTERS], carried] for text, carried in segment.pieces[:PIECES]],
            }
            for segment, score in zip(segments, found, strict=True)
        ]
        scores = [score for score in found if score is not None]
        carried = [score for segment in segments for score in segment.scores]
        metrics = {"segments/score": float(np.mean(scores))} if scores else {}
        return metrics | ({"segments/carried": float(np.mean(carried))} if carried else {}), rows
