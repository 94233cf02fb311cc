"""Looks at the model between steps, by a function that whoever starts a run hands in: `watched.jsonl`, and metrics."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from heedful.rollouts.watch import Segment, Watch
from heedful.tokens.documents import Controls
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.training.metrics import MetricsFile
from heedful.training.trackers import Tracker

WATCHED_FILE = "watched.jsonl"
SHOWN = 100
"""Rows that a tracker gets; all are in the file."""


class Watching:
    """A watch with what it looks at.

    every: steps between looks, None for the start and the end only.  num_segments: sequences of the last step that it
    is shown.  resume_step: lines of later steps are cut off the file; None begins an empty one.
    """

    def __init__(
        self,
        watch: Watch,
        model: Any,
        template: Template,
        store: TokenStore,
        controls: Controls | None,
        run: Path,
        *,
        every: int | None,
        num_segments: int,
        resume_step: int | None,
    ) -> None:
        self.watch, self.model, self.template, self.store = watch, model, template, store
        self.every, self.num_segments = every, num_segments
        names = () if controls is None else (controls.aligned, controls.misaligned)
        self.control_ids = {template.vocabulary.special_id(name): name for name in names}
        self.file = MetricsFile(run / WATCHED_FILE, resume_step)

    def __call__(self, step: int, rows: np.ndarray, tracker: Tracker | None) -> dict[str, float]:
        """Look now, after `step` steps.  rows: the sequences of the last step (of the first, at the start)."""
        segments = [self.segment(int(row)) for row in rows[: self.num_segments]]
        found = self.watch(step, self.model, self.template, segments)
        for row in found.rows:
            self.file.write({"step": step, **row})
        if tracker is not None and found.rows:
            columns = tuple(found.rows[0])
            tracker.table(
                "watched", columns, [[_cell(row.get(name)) for name in columns] for row in found.rows[:SHOWN]], step
            )
        return found.metrics

    def segment(self, row: int) -> Segment:
        """Sequence `row` of the store as text, with what it carried."""
        responses = self.store.responses_of(row)
        ids = np.concatenate([self.store.response_tokens(r) for r in responses]).tolist()
        scores = np.concatenate([self.store.scores_of(r) for r in responses]).tolist()
        hidden = {*self.control_ids, *self.template.stop_ids}
        text = self.template.vocabulary.decode([index for index in ids if index not in hidden])
        controls = [self.control_ids[index] for index in ids if index in self.control_ids]
        return Segment(text, scores, controls, self.store.origin(row), self._pieces(ids, scores))

    def _pieces(self, ids: list[int], scores: list[float]) -> list[tuple[str, float]]:
        shown = [
            (index, score) for index, score in zip(ids, scores, strict=False) if index not in self.template.stop_ids
        ]
        runs = [(score, [index for index, _ in run]) for score, run in groupby(shown, key=lambda token: token[1])]
        return [(self.template.vocabulary.decode(run), score) for score, run in runs]

    def close(self) -> None:
        """Flush to the disk and close."""
        self.file.close()


def _cell(value: Any) -> Any:
    """As trackers' tables hold it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def due(every: int | None, step: int, num_steps: int) -> bool:
    """Whether to look after `step` steps: at multiples of `every`, and after the last."""
    return step == num_steps or (every is not None and step % every == 0)
