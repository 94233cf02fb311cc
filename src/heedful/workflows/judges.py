"""Judges of answers: scorers and reward models with their weights, and what an answer that failed counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heedful.scorers import Scorer, get
from heedful.types import Example

REWARD = "reward"
"""The weighted sum of all judges."""


@dataclass(frozen=True)
class Panel:
    """Judges by name, each a scorer and its weight in the reward.

    floors: what an answer that failed counts at most, by judge: the worst of the data's own answers.
    """

    judges: dict[str, tuple[Scorer, float]]
    floors: Mapping[str, float]

    def rewards(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """By judge, the reward of every answer (P, K), larger better, and under `REWARD` their weighted sum.

        Every example has the same number of answers.  A failed answer counts what its judge says of it, or the floor if
        that is worse: an empty answer is never a perfect one.
        """
        bad = failed(examples)
        found = {}
        for name, scores in self.scores(examples).items():
            values = np.array(scores)
            found[name] = np.where(bad, np.minimum(values, self.floors.get(name, np.inf)), values)
        weights = {name: weight for name, (_, weight) in self.judges.items()}
        return {**found, REWARD: sum((weights[name] * values for name, values in found.items()), np.zeros(bad.shape))}

    def scores(self, examples: Sequence[Example]) -> dict[str, list[list[float]]]:
        """By judge, the reward of every answer as the judge gives it, larger better."""
        return {
            name: [[scorer.reward(score) for score in row] for row in scorer.examples(examples)]
            for name, (scorer, _) in self.judges.items()
        }

    def with_floors(self, answers: Sequence[Example]) -> Panel:
        """This panel, with the floors that the data's own answers set."""
        floors = {name: min(score for row in rows for score in row) for name, rows in self.scores(answers).items()}
        return Panel(self.judges, floors)


def make_panel(asked: Mapping[str, float], device: str) -> Panel:
    """The judges that are asked for, with their weights; their models are loaded.

    A judge is called as its scorer is, or as it was asked for where that name is taken.
    Raises UserError for one that there is not.
    """
    judges: dict[str, tuple[Scorer, float]] = {}
    for text, weight in asked.items():
        scorer = get(text, device=device)
        name = text if scorer.name in judges or scorer.name == REWARD else scorer.name
        judges[name] = (scorer, weight)
    return Panel(judges, {})


def failed(examples: Sequence[Example]) -> np.ndarray:
    """Which answers (P, K) are empty, or were cut by the length limit."""
    return np.array([[r.is_empty or r.is_unfinished for r in e.responses] for e in examples])
