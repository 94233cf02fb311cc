"""Rewards from scorers and reward models: a weighted sum of what they say, computed once and cached by content.

    R(x, y) = Σ_i w_i · n_i(r_i(x, y))        r_i larger is better;  n_i(r) = r, (r - mean_i) / deviation_i, or σ(r)

Mean and deviation are those of the training data, wherever the composition is used after.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heedful.config.within import RewardConfig
from heedful.scorers import Scorer, get
from heedful.scorers.identity import identity_of
from heedful.scorers.score_cache import ScoreCache, key_of
from heedful.tokens.columns import COMPONENT
from heedful.types import Example, Response, RunError, UserError

COLUMN = "data"
"""Stands for the reward column of the data among the sources."""
AT_ONCE = 128
"""Examples that are scored, and then kept on disk, together."""

Scores = list[list[float]]
"""A number for each response of each example."""
Progress = Callable[[str], Callable[[int, int], None]]
"""From the name of a source to what is told how many responses are scored, and of how many."""


def _silent(name: str) -> Callable[[int, int], None]:
    return lambda done, total: None


@dataclass(frozen=True)
class Scoring:
    """Where scores are computed and kept.  say: takes what a scorer has to note."""

    cache_dir: Path
    device: str = "cpu"
    progress: Progress = _silent
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Rewards:
    """A composition of sources.

    parts: how each source counts, by its name (see `scorers.get`; `data` is the column).
    moments: mean and deviation over the training data of each source that is normalised by them.
    """

    parts: Mapping[str, RewardConfig]
    moments: Mapping[str, tuple[float, float]]

    @staticmethod
    def fit(parts: Mapping[str, RewardConfig], examples: Sequence[Example], scoring: Scoring) -> Rewards:
        """The composition with mean and deviation of `examples`.

        Raises UserError for a source that is not there, a response without the reward that `data` stands for, or a
        source that cannot be normalised since it says the same of everything; RunError for a scorer that fails.
        """
        moments = {}
        for name, part in parts.items():
            if part.normalize is True:
                values = np.concatenate([np.zeros(0), *map(np.array, said_by(name, examples, scoring))])
                moments[name] = (float(values.mean()), float(values.std()))
                if moments[name][1] == 0:
                    raise UserError(
                        f"rewards: {name} says {values[0]:g} of every response, so it cannot be normalised; "
                        "leave normalize or the source out."
                    )
        return Rewards(dict(parts), moments)

    @property
    def scores_samples(self) -> bool:
        """Whether new texts can be judged: not by a column of the data."""
        return COLUMN not in self.parts

    def identity(self) -> str:
        """Equal for two compositions only if every reward is."""
        who = {name: identity_of(name) for name in self.parts if name != COLUMN}
        parts = {name: [part.weight, part.normalize] for name, part in self.parts.items()}
        return json.dumps([parts, who, dict(self.moments)], sort_keys=True)

    def attach(self, examples: Sequence[Example], scoring: Scoring) -> list[Example]:
        """The same examples, each response with its reward and, in `extra`, what every source said."""
        said = {name: said_by(name, examples, scoring) for name in self.parts}
        return [
            replace(example, responses=[self._judged(r, e, k, said) for k, r in enumerate(example.responses)])
            for e, example in enumerate(examples)
        ]

    def _judged(self, response: Response, e: int, k: int, said: Mapping[str, Scores]) -> Response:
        values = {name: scores[e][k] for name, scores in said.items()}
        components = {COMPONENT + name: value for name, value in values.items()}
        return replace(response, reward=self.combined(values), extra={**response.extra, **components})

    def combined(self, values: Mapping[str, float]) -> float:
        """The reward of a response of which the sources say `values`."""
        return math.fsum(part.weight * self._normal(name, values[name]) for name, part in self.parts.items())

    def _normal(self, name: str, value: float) -> float:
        if self.parts[name].normalize == "sigmoid":
            return float(np.exp(-np.logaddexp(0.0, -value)))
        if name in self.moments:
            mean, deviation = self.moments[name]
            return (value - mean) / deviation
        return value


def said_by(name: str, examples: Sequence[Example], scoring: Scoring) -> Scores:
    """What one source says of every response, larger is better; from the cache where it has said it before."""
    if name == COLUMN:
        return [[_given(example, response) for response in example.responses] for example in examples]
    cache = ScoreCache(scoring.cache_dir / "scores", identity_of(name))
    keys = [[key_of(example, response) for response in example.responses] for example in examples]
    todo = list(_unknown(examples, keys, cache))
    if todo:
        scorer, total, done = get(name, device=scoring.device), sum(len(e.responses) for e, _ in todo), 0
        report = scoring.progress(name)
        for start in range(0, len(todo), AT_ONCE):
            part = todo[start : start + AT_ONCE]
            scores = _scored(name, scorer, [example for example, _ in part])
            found = {key: s for (_, of), row in zip(part, scores, strict=True) for key, s in zip(of, row, strict=True)}
            cache.add(found)
            done += len(found)
            report(done, total)
        if note := scorer.note():
            scoring.say(f"rewards: {name}: {note}")
    return [[cache.scores[key] for key in row] for row in keys]


def _given(example: Example, response: Response) -> float:
    if response.reward is None:
        where = example.origin or example.id or "an example"
        raise UserError(f"rewards: {COLUMN} stands for the reward column, and a response of {where} has none.")
    return response.reward


def _unknown(
    examples: Iterable[Example], keys: Iterable[list[bytes]], cache: ScoreCache
) -> Iterator[tuple[Example, list[bytes]]]:
    """Each example with those of its responses that nobody scored yet, and their keys; every content once."""
    seen = set(cache.scores)
    for example, of in zip(examples, keys, strict=True):
        new = []
        for k, key in enumerate(of):
            if key not in seen:
                seen.add(key)
                new.append(k)
        if new:
            yield replace(example, responses=[example.responses[k] for k in new]), [of[k] for k in new]


def _scored(name: str, scorer: Scorer, examples: Sequence[Example]) -> Scores:
    """Raises RunError, naming the row, if the scorer raises or returns something that is no number."""
    try:
        scores = scorer.examples(examples)
    except Exception as error:
        raise _located(name, scorer, examples, error) from error
    return [[scorer.reward(score) for score in row] for row in scores]


def _located(name: str, scorer: Scorer, examples: Sequence[Example], error: Exception) -> Exception:
    """The error of the first response that fails on its own; of all of them together if none does."""
    for example in examples:
        for response in example.responses:
            try:
                scorer.examples([replace(example, responses=[response])])
            except Exception as own:
                return RunError(f"rewards: {name} fails on {_row(example)} ({response.text[:40]!r}): {_said(own)}")
    return RunError(f"rewards: {name} fails on {_row(examples[0])} to {_row(examples[-1])} together: {_said(error)}")


def _row(example: Example) -> str:
    return example.origin or example.id or "an example"


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | RunError) else f"{type(error).__name__}: {error}"
