"""The one shape of a scorer: prompts and responses in, one number a response out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heedful.types import Rollout, RunError

ScoreFunction = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts, responses) -> one number a response."""


@dataclass(frozen=True)
class Scorer:
    """A named score of responses.  Call it with prompts and responses, or hand it samples.

    lower_is_better: whether a small number is good (violations, toxicity) or a large one (a reward).
    failure: what a response counts that cannot be judged: an empty one, one that the length limit cut.  Never better
        than a judged response.  None where such a response is scored like any other.
    about: one line for tables.
    """

    name: str
    function: ScoreFunction
    lower_is_better: bool
    failure: float | None
    about: str

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """One finite number a response.  Raises RunError if the function returns anything else."""
        scores = [float(s) for s in self.function(prompts, responses)]
        if len(scores) != len(responses):
            raise RunError(f"Scorer {self.name} returned {len(scores)} numbers for {len(responses)} responses.")
        bad = next((i for i, s in enumerate(scores) if not math.isfinite(s)), None)
        if bad is not None:
            raise RunError(f"Scorer {self.name} returned {scores[bad]} for response {bad}; it must return numbers.")
        if self.failure is None:
            return scores
        return [s if r.strip() else self.failure for s, r in zip(scores, responses, strict=True)]

    def rollouts(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Scores of samples; one that ran into the length limit is a failure."""
        scores = self([prompt_text(r) for r in rollouts], [r.text for r in rollouts])
        if self.failure is None:
            return scores
        return [s if r.finished else self.failure for s, r in zip(scores, rollouts, strict=True)]

    def reward(self, score: float) -> float:
        """The score with the sign that makes larger better."""
        return -score if self.lower_is_better else score


def prompt_text(rollout: Rollout) -> str:
    """A sample's prompt as plain text: what its messages say, one after the other."""
    return "".join(m.content for m in rollout.prompt)
