"""One objective: Heedful, TRL and the bare model by turns on the same batches; before that, that all lose the same."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare_side import BareRun, bare_batches
from benchmarks.corpus import BATCH, Corpus
from benchmarks.heed_side import HeedRun
from benchmarks.settings import clock
from benchmarks.summary import ratio, summarise
from benchmarks.trl_side import TrlRun

WITH_REFERENCE = ("dpo", "kto")
ALONE = ("a_lol",)
"""TRL has none of these: the bare model is what they are measured by."""
ORACLE_STEPS = 2
TOLERANCE = 1e-4
"""Relative difference of losses and gradient norms in fp32 that rounding explains."""

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Effort:
    """How much to do.  rounds: at least; more are run while a part has taken less than `budget_s`."""

    pairs: int
    rounds: int
    budget_s: float

    def each(self) -> Iterator[int]:
        """The rounds, counted."""
        began, number = clock(), 0
        while number < self.rounds or (clock() - began) * (number + 1) / number < self.budget_s:
            yield number
            number += 1


def contest(corpus: Corpus, objective: str, work: Path, effort: Effort) -> dict[str, Any]:
    """Times of one pass over `effort.pairs` pairs, contender by contender, in seconds, and their ratios."""
    agreement = None
    if objective not in ALONE:
        agreement = same_loss(corpus.first(ORACLE_STEPS * BATCH, work / "oracle"), objective, work / "oracle")
    data = corpus.first(effort.pairs, work / "data")
    samples: Samples = defaultdict(list)
    bare: BareRun | None = None
    facts: dict[str, Any] = {}
    for _ in effort.each():
        shutil.rmtree(work / "round", ignore_errors=True)
        run = HeedRun(data, objective, work / "round")
        reference_s, train_s = run.prepare_loop(), run.train()
        samples["heedful"].append(train_s)
        if bare is None:
            steps = run.steps()
            bare = BareRun(data, bare_batches(steps, scores=objective == "reward"), scores=objective == "reward")
            bare.train()
            facts = run.facts(steps)
        samples["bare"].append(bare.train())
        if objective in WITH_REFERENCE:
            samples["heedful_cold"].append(reference_s + train_s)
            _trl_with_reference(data, objective, work / "round", samples)
        elif objective not in ALONE:
            samples["trl"].append(TrlRun(data, objective, work / "round").train())
        again = HeedRun(data, objective, work / "round")
        again.prepare_loop()
        samples["heedful"].append(again.train())
        samples["bare"].append(bare.train())
    return {"agreement": agreement, **facts, **summarise(samples), "ratios": ratios(samples)}


def _trl_with_reference(data: Corpus, objective: str, work: Path, samples: Samples) -> None:
    """TRL's own precomputed reference and, for DPO, its default: a second model in every step."""
    if objective == "dpo":
        samples["trl_default"].append(TrlRun(data, objective, work).train())
    first = TrlRun(data, objective, work, precompute=True)
    cached = TrlRun(data, objective, work, precompute=True)
    train_s = cached.train()
    samples["trl"].append(train_s)
    samples["trl_cold"].append(first.setup_s - cached.setup_s + train_s)


def ratios(samples: Samples) -> dict[str, float]:
    """The ratios that the targets speak of.  With the reference pass, against TRL's faster way of doing it."""
    found = {"heedful/bare": ratio(samples, "heedful", "bare")}
    if "trl" in samples:
        found["trl/heedful"] = ratio(samples, "trl", "heedful")
    ways = [name for name in ("trl_cold", "trl_default") if name in samples]
    if ways:
        found["trl_cold/heedful_cold"] = min(ratio(samples, way, "heedful_cold") for way in ways)
    if "trl_default" in samples:
        found["trl_default/heedful"] = ratio(samples, "trl_default", "heedful")
        found["trl_default/heedful_cold"] = ratio(samples, "trl_default", "heedful_cold")
    return {name: round(value, 3) for name, value in found.items()}


def same_loss(corpus: Corpus, objective: str, work: Path) -> dict[str, Any]:
    """Train a few steps on both sides and compare loss and gradient norm, step by step.

    Raises AssertionError if they differ by more than rounding.  Of KTO only the first step is compared: from then on
    z is an estimate from mismatched answers, which each side draws in its own way.
    """
    run = HeedRun(corpus, objective, work)
    run.prepare_loop()
    run.train()
    theirs = TrlRun(corpus, objective, work, log_every_step=True)
    theirs.train()
    rows = list(zip(run.metrics(), theirs.logs, strict=True))[: 1 if objective == "kto" else None]
    steps = [{key: [ours[key], logged[key]] for key in ("loss", "grad_norm")} for ours, logged in rows]
    worst = max(abs(a - b) / abs(b) for step in steps for a, b in step.values())
    assert worst < TOLERANCE, f"{objective}: Heedful and TRL do not compute the same: {steps}"
    assert math.isfinite(worst)
    print(
        f"{objective}: the same losses and gradient norms as TRL over {len(steps)} step(s), to {worst:.1e}", flush=True
    )
    return {"steps": steps, "worst_relative_difference": worst}
