"""What a comparison measures of a model's answers: rewards, win rates, divergence from the start, length, variety."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heedful.evaluation import distinct_n
from heedful.types import Example, Response
from heedful.workflows.judges import REWARD, failed
from heedful.workflows.measure import Interval, ratio_difference, ratio_interval, win_rate

BASE, DATA = "base", "data"
"""Names of the model that all started from, and of the data's own answers."""


@dataclass(frozen=True)
class Answers:
    """Answers to the same prompts by one model, K each.

    rewards: by judge, and their weighted sum under `REWARD`, (P, K); empty where nobody judges.
    prompts (P,): which of the comparison's prompts they answer.
    """

    name: str
    examples: Sequence[Example]
    rewards: Mapping[str, np.ndarray]
    prompts: np.ndarray

    def contested(self, judge: str) -> np.ndarray:
        """The reward by a judge as win rates compare it (P, K): a failed answer loses to every other."""
        return np.where(failed(self.examples), -np.inf, self.rewards[judge])


@dataclass(frozen=True)
class Measures:
    """One row of the table.

    rewards: mean by judge, with its interval.  gains: difference to the base model, on the same prompts.
    wins: by judge, the win rate against each other model and the data's answers.
    kl: estimate of KL(model ‖ base) an answer, in nats: the mean of log p_model - log p_base over the model's answers;
        kl_per_token: the same sum over the number of their tokens.  None for the base, and where the answers were not
        drawn from the model as it is (temperature, top_p).
    tokens: mean length.  empty, unfinished, failed (one of the two): shares.  distinct: different n-grams of words over
        all n-grams, by n.
    """

    name: str
    num_prompts: int
    num_answers: int
    rewards: dict[str, Interval]
    gains: dict[str, Interval]
    wins: dict[str, dict[str, Interval]]
    kl: Interval | None
    kl_per_token: Interval | None
    tokens: float | None
    empty: float
    unfinished: float
    failed: float
    distinct: dict[int, float]


def measure(answers: Answers, others: Sequence[Answers], *, seed: int, with_kl: bool) -> Measures:
    """Measure one model's answers, against those of all others.  with_kl: whether they estimate the divergence."""
    responses = [r for e in answers.examples for r in e.responses]
    base = next((other for other in others if other.name == BASE), None)
    sampled = answers.name != DATA
    kl = _divergence(answers.examples, seed) if with_kl and sampled and answers.name != BASE else (None, None)
    return Measures(
        answers.name,
        num_prompts=len(answers.examples),
        num_answers=len(responses),
        rewards={name: ratio_interval(_mean(values), seed=seed) for name, values in answers.rewards.items()},
        gains={} if base is None else _gains(answers, base, seed),
        wins={judge: {o.name: _wins(answers, o, judge, seed) for o in others} for judge in judged_apart(answers)},
        kl=kl[0],
        kl_per_token=kl[1],
        tokens=float(np.mean([r.extra["tokens"] for r in responses])) if sampled else None,
        empty=float(np.mean([r.is_empty for r in responses])),
        unfinished=float(np.mean([r.is_unfinished for r in responses])),
        failed=float(failed(answers.examples).mean()),
        distinct={n: distinct_n([r.text for r in responses], n) for n in (1, 2, 3)},
    )


def _gains(answers: Answers, base: Answers, seed: int) -> dict[str, Interval]:
    """Differences to the base's answers of the same prompts."""
    rows = np.searchsorted(base.prompts, answers.prompts)
    return {
        name: ratio_difference(_mean(values), _mean(base.rewards[name][rows]), seed=seed)
        for name, values in answers.rewards.items()
    }


def judged_apart(answers: Answers) -> list[str]:
    """The reward, and every judge if there are several: alone, a judge is the reward."""
    judges = [name for name in answers.rewards if name != REWARD]
    return [REWARD, *judges] if len(judges) > 1 else [REWARD][: len(judges)]


def _wins(answers: Answers, other: Answers, judge: str, seed: int) -> Interval:
    """On the prompts that both answered."""
    _, mine, theirs = np.intersect1d(answers.prompts, other.prompts, return_indices=True)
    return win_rate(answers.contested(judge)[mine], other.contested(judge)[theirs], seed=seed)


def _divergence(examples: Sequence[Example], seed: int) -> tuple[Interval, Interval]:
    gaps = np.array([[_gap(r) for r in e.responses] for e in examples])
    tokens = np.array([[float(r.extra["tokens"]) for r in e.responses] for e in examples])
    return ratio_interval(_mean(gaps), seed=seed), ratio_interval((gaps, tokens), seed=seed)


def _gap(response: Response) -> float:
    """log p_model - log p_base; infinite where the base model lacks a token of the answer."""
    base = response.extra["logp_base"]
    return math.inf if base is None else response.extra["logp"] - base


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values, np.ones_like(values)
