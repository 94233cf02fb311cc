"""What an objective itself costs: everything between the model's outputs and their gradients, beside a step's model."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.bare_side import BareRun, bare_batches
from benchmarks.contest import Effort
from benchmarks.corpus import BATCH, Corpus
from benchmarks.heed_side import HeedRun
from benchmarks.settings import clock
from heedful.objectives import REGISTRY, plain
from heedful.objectives.reduce import loss_of
from heedful.proofs.batches import cast, random_batch

TOKENS = 160
"""The longest of a response; half of it on average, as in HH."""
REPEATS = 20


def objectives(corpus: Corpus, work: Path, effort: Effort) -> dict[str, Any]:
    """Seconds of each objective on one batch, and their share of a step of the bare model on as many pairs."""
    data = corpus.first(BATCH, work / "data")
    run = HeedRun(data, "dpo", work / "run")
    run.prepare_loop()
    bare = BareRun(data, bare_batches(run.steps(), scores=False), scores=False)
    bare.train()
    step_s = median(bare.train() for _ in range(max(3, effort.rounds)))
    seconds = {name: objective_seconds(name) for name in REGISTRY}
    return {"step_s": step_s, "seconds": seconds, "share": {n: s / (s + step_s) for n, s in seconds.items()}}


def objective_seconds(name: str) -> float:
    """Median seconds of one call with its denominators, reduction and backward."""
    objective = plain(name)
    batch = cast(random_batch(sizes=(2,) * BATCH, most_tokens=TOKENS), torch.float32)
    stats = {statistic: torch.tensor(0.1) for statistic in objective.statistics}
    found = []
    for _ in range(REPEATS):
        began = clock()
        with torch.no_grad():
            counted = objective(batch, stats).terms
        loss_of(objective(batch, stats), {term: part.weight_sum for term, part in counted.items()}).backward()
        found.append(clock() - began)
    return median(found)
