"""How full packs are over an epoch, and how long building them takes beside the training they hide behind."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.corpus import Corpus
from benchmarks.heed_side import HeedRun
from heedful.tokens.planning import fill, plan_packs
from heedful.tokens.sampler import Sampler

BATCHES = (8, 32, 128)
BUDGET = 4096


def packing(corpus: Corpus, work: Path) -> dict[str, Any]:
    """Mean share of pack slots that hold tokens, for some batch sizes and one or two processes.

    Slots of a step are (packs) × (longest pack): what ranks wait for.
    """
    run = HeedRun(corpus, "dpo", work)
    lengths = run.context.data.train.example_lengths
    found = {}
    for size in BATCHES:
        sampler = Sampler(np.ones(len(lengths), np.int64), batch_size=size, epochs=1)
        batches = [lengths[sampler.batch(step)] for step in range(sampler.num_steps)]
        for world in (1, 2):
            fills = [fill(batch, plan_packs(batch, BUDGET, world)) for batch in batches]
            found[f"batch {size}, {world} process{'es' if world > 1 else ''}"] = round(mean(fills), 4)
    return {"tokens_per_pack": BUDGET, "pairs": len(lengths), "fill": found}
