"""The demo's table: every model's samples measured against the base model's, with an honest verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heedful.evaluation import distinct_n
from heedful.types import Example
from heedful.workflows.measure import Interval, expected_worst_of, ratio_difference

WORST_OF = 25
LEAST_SHARE = 0.95
"""Parse share and length hold if they are at least this share of the base model's and not significantly below."""


@dataclass(frozen=True)
class Measures:
    """One model's samples of the held-out headers.  Differences are to the base model; None for the base itself.

    violations: PEP 8 violations per 100 characters over all samples, a failure (empty, unfinished, no Python) counting
        `scorers.PEP8_FAILURE`.
    violations_of_valid: the same over samples that are finished and parse.  valid: their share.
    characters, statements: their mean length.  worst: expected most violations per 100 characters of 25 of them.
    distinct_2: different word pairs over all word pairs, of all samples.
    kl: estimate of KL(model ‖ base) per sample in nats: the mean of log p_model - log p_base over the model's samples;
        None for a model that pretrained apart from the base.
    """

    name: str
    num_samples: int
    violations: float
    violations_of_valid: float
    valid: float
    characters: float
    statements: float
    worst: float
    distinct_2: float
    kl: float | None
    differences: dict[str, Interval]
    success: bool | None
    verdict: str


def measure(name: str, examples: Sequence[Example], base: Sequence[Example], *, seed: int) -> Measures:
    """Measure a model's samples against the base model's samples of the same prompts (its own for the base)."""
    new, old = _columns(examples), _columns(base)
    is_base = examples is base
    differences = {} if is_base else {k: ratio_difference(new[k], old[k], seed=seed) for k in new}
    values = {k: _ratio(*new[k]) for k in new}
    success, verdict = (
        (None, "the starting point") if is_base else _judge(differences, {k: _ratio(*old[k]) for k in old})
    )
    scores, valid = new["violations"][0], new["valid"][0] > 0
    answers = [response for example in examples for response in example.responses]
    gaps = [r.extra["logp"] - r.extra["logp_base"] for r in answers if "logp_base" in r.extra]
    return Measures(
        name,
        scores.size,
        **values,
        worst=expected_worst_of(scores[valid].tolist(), WORST_OF, lower_is_better=True),
        distinct_2=distinct_n([r.text for r in answers], 2),
        kl=float(np.mean(gaps)) if gaps else None,
        differences=differences,
        success=success,
        verdict=verdict,
    )


def _columns(examples: Sequence[Example]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Numerators and denominators (prompts, samples) of the measures that get an interval."""
    scores = np.array([[r.extra["pep8"] for r in e.responses] for e in examples])
    valid = np.array([[r.extra["parses"] for r in e.responses] for e in examples])
    lengths = np.array([[float(len(r.text)) for r in e.responses] for e in examples])
    statements = np.array([[r.extra["statements"] for r in e.responses] for e in examples])
    ones = np.ones_like(scores)
    return {
        "violations": (scores, ones),
        "violations_of_valid": (scores * valid, valid),
        "valid": (valid, ones),
        "characters": (lengths * valid, valid),
        "statements": (statements * valid, valid),
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    return float(numerator.sum() / denominator.sum()) if denominator.sum() else float("nan")


def _judge(differences: Mapping[str, Interval], base: Mapping[str, float]) -> tuple[bool, str]:
    """Success: fewer violations beyond doubt, not paid for in parse share, length or tidiness of what parses."""
    fewer = differences["violations"]
    faults = []
    if not fewer.high < 0:
        faults.append("violations did not fall beyond doubt")
    for key, what in (
        ("valid", "the share that parses"),
        ("characters", "the length of what parses"),
        ("statements", "the number of statements of what parses"),
    ):
        d = differences[key]
        if d.high < 0 or base[key] + d.value < LEAST_SHARE * base[key]:
            faults.append(f"{what} fell by {-d.value / base[key]:.0%}")
    if differences["violations_of_valid"].low > 0:
        faults.append("what parses became untidier")
    if faults:
        return False, f"no success: {'; '.join(faults)}"
    tidier = "what parses is tidier too" if differences["violations_of_valid"].high < 0 else "what parses is as tidy"
    return True, f"success: fewer violations, parse share and length hold; {tidier}"


HEADERS = (
    "model",
    "violations / 100 chars",
    "the same where it parses",
    "share that parses",
    "chars where it parses",
    "statements there",
    f"worst of {WORST_OF} that parse",
    "distinct-2",
    "KL from base, nats",
    "training, s",
    "sampling, s",
)


def cells(row: Measures, training_s: float | None, sampling_s: float | None) -> list[str]:
    """A row of the table as text; differences to the base with their 95 % intervals in brackets."""

    def with_interval(value: str, key: str, scale: float = 1.0, digits: int = 2) -> str:
        d = row.differences.get(key)
        return value if d is None else f"{value} [{d.low * scale:+.{digits}f}, {d.high * scale:+.{digits}f}]"

    return [
        row.name,
        with_interval(f"{row.violations:.2f}", "violations"),
        with_interval(f"{row.violations_of_valid:.2f}", "violations_of_valid"),
        with_interval(f"{row.valid:.0%}", "valid", 100, 0),
        with_interval(f"{row.characters:.0f}", "characters", 1, 0),
        with_interval(f"{row.statements:.1f}", "statements", 1, 1),
        f"{row.worst:.2f}",
        f"{row.distinct_2:.3f}",
        "" if row.kl is None else f"{row.kl:.2f}",
        "" if training_s is None else f"{training_s:.0f}",
        "" if sampling_s is None else f"{sampling_s:.0f}",
    ]


def to_json(rows: Sequence[Measures], seconds: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in the table, unrounded, with the wall time of every stage and the settings."""
    return {
        "settings": dict(settings),
        "models": [asdict(row) for row in rows],
        "seconds": {**seconds, "total": sum(seconds.values())},
    }
