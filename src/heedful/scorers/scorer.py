"""The one shape of a scorer: prompts and responses in, one number a response out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heedful.types import Example, Response, RunError

ScoreFunction = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts, responses) -> one number a response."""


@dataclass(frozen=True)
class Scorer:
    """A named score of responses.  Call it with prompts and responses, or with examples.

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

    def examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """Scores of every response of every example; a sample that ran into the length limit is a failure.

        A sample's `Response.extra["finished"]` says so; a response without it came from a person and is whole.
        """
        pairs = [(e, r) for e in examples for r in e.responses]
        scores = iter(self([prompt_text(e) for e, _ in pairs], [r.text for _, r in pairs]))
        return [[self._or_failure(next(scores), r) for r in e.responses] for e in examples]

    def _or_failure(self, score: float, response: Response) -> float:
        cut = response.extra.get("finished") is False
        return self.failure if cut and self.failure is not None else score

    def reward(self, score: float) -> float:
        """The score with the sign that makes larger better."""
        return -score if self.lower_is_better else score


def prompt_text(example: Example) -> str:
    """A prompt as plain text: what its messages say, one after the other."""
    return "".join(message.content for message in example.prompt)
