"""The one shape of a scorer: prompts and responses in, one number a response out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from heedful.types import Example, Response, RunError, Span, UserError

ScoreFunction = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts, responses) -> one number a response."""

DocumentFunction = Callable[[Sequence[str]], list[tuple[float, list[Span]]]]
"""texts -> a score of each, and spans with scores that tile it; lower is better."""

ExamplesFunction = Callable[[Sequence[Example]], list[float]]
"""examples -> one number for each response of each example, in their order."""


def _nothing() -> str:
    return ""


class WrongCount(RunError):
    """A scorer gave more or fewer numbers than texts: whose they are cannot be told."""


@dataclass(frozen=True)
class Scorer:
    """A named score of responses.  Call it with prompts and responses, or with examples.

    Called, and by `examples`, it fails as a whole for one response that it cannot judge: what trains, compares or asks
    for labels by it must not go on without a number.  By `each` such a response costs only itself.

    lower_is_better: whether a small number is good (violations, toxicity) or a large one (a reward).
    failure: what a response counts that cannot be judged: an empty one, one that the length limit cut.  Never better
        than a judged response.  None where such a response is scored like any other.
    about: one line for tables.
    on_examples: the same judgement of whole examples, for a scorer to which a prompt is more than its text run
        together: it tells the turns apart.  None: an example is read as `prompt_text`.
    document: the scorer's own way with documents (see `documents.judge_documents`), in whose scores lower is better;
        None: they are scored as responses to nothing, in the pieces that `split` says.
    split: the pieces of a document that are scored apart.
    note: what should be known about the scores given so far (texts that were cut, say); empty if nothing.
    """

    name: str
    function: ScoreFunction
    lower_is_better: bool
    failure: float | None
    about: str
    on_examples: ExamplesFunction | None = None
    note: Callable[[], str] = _nothing
    document: DocumentFunction | None = None
    split: Literal["lines", "sentences", "none"] = "none"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """One finite number a response.  Raises RunError if the function returns anything else."""
        return self._checked(self.function(prompts, responses), responses)

    def examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """Scores of every response of every example; an unfinished sample is a failure."""
        prompts, responses = texts_of(examples, prompt_text)
        if self.on_examples is None:
            scores = iter(self(prompts, responses))
        else:
            scores = iter(self._checked(self.on_examples(examples), responses))
        return [[self._or_failure(next(scores), r) for r in e.responses] for e in examples]

    def each(self, examples: Sequence[Example]) -> list[list[float | str]]:
        """As `examples`, but in the place of a response that cannot be judged stands why; the others have their scores.

        Raises RunError only for more or fewer numbers than responses.
        """
        try:
            return [[*scores] for scores in self.examples(examples)]
        except WrongCount:
            raise
        except Exception:  # Some response's fault: each is asked about alone, so that the reason is told of that one.
            return [[self._alone(replace(e, responses=[r])) for r in e.responses] for e in examples]

    def _alone(self, example: Example) -> float | str:
        try:
            [[score]] = self.examples([example])
        except WrongCount:
            raise
        except Exception as error:
            return reason_of(error)
        return score

    def _checked(self, returned: Sequence[float], responses: Sequence[str]) -> list[float]:
        scores = [float(s) for s in returned]
        if len(scores) != len(responses):
            raise WrongCount(f"Scorer {self.name} returned {len(scores)} numbers for {len(responses)} responses.")
        bad = next((i for i, s in enumerate(scores) if not math.isfinite(s)), None)
        if bad is not None:
            raise RunError(f"Scorer {self.name} returned {scores[bad]} for response {bad}; it must return numbers.")
        if self.failure is None:
            return scores
        return [s if r.strip() else self.failure for s, r in zip(scores, responses, strict=True)]

    def _or_failure(self, score: float, response: Response) -> float:
        return self.failure if response.is_unfinished and self.failure is not None else score

    def reward(self, score: float) -> float:
        """The score with the sign that makes larger better."""
        return -score if self.lower_is_better else score


def reason_of(error: Exception) -> str:
    """Why a text could not be judged, in one line."""
    if isinstance(error, UserError | RunError):
        return str(error)
    return f"the scorer raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def prompt_text(example: Example) -> str:
    """A prompt as plain text: what its messages say, one after the other."""
    return "".join(message.content for message in example.prompt)


def texts_of(examples: Sequence[Example], read: Callable[[Example], str]) -> tuple[list[str], list[str]]:
    """Prompts and responses of the examples, one of each for every response.  read: a prompt as a text."""
    prompts = [text for e in examples for text in [read(e)] * len(e.responses)]
    return prompts, [r.text for e in examples for r in e.responses]
