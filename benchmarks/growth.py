"""How the time of a whole run (read, tokenise, reference, train) grows from one to eight times as much data."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.contest import Effort
from benchmarks.corpus import Corpus
from benchmarks.heed_side import HeedRun
from benchmarks.settings import clock
from benchmarks.summary import per_unit, summarise

TIMES = (1, 2, 4, 8)
UNIT = 12
"""Pairs in the smallest run."""


def growth(corpus: Corpus, work: Path, effort: Effort) -> dict[str, Any]:
    """Seconds of a DPO run on 1 to 8 times the data, and the time of a pair relative to the smallest run's.

    training: reference pass and loop.  whole: also reading, tokenising and loading the model, which is constant.
    """
    training, whole = defaultdict(list), defaultdict(list)
    parts = {times: corpus.first(times * UNIT, work / f"data-{times}") for times in TIMES}
    for _ in effort.each():
        for times, part in parts.items():
            shutil.rmtree(work / "run", ignore_errors=True)
            began = clock()
            run = HeedRun(part, "dpo", work / "run")
            training[times].append(run.prepare_loop() + run.train())
            whole[times].append(clock() - began)
    return {
        "pairs": {times: part.num_pairs for times, part in parts.items()},
        "training": {**summarise(training), "time_per_pair": per_unit(training)},
        "whole": {**summarise(whole), "time_per_pair": per_unit(whole)},
        "ratios": {"8x/1x per pair": round(per_unit(training)[TIMES[-1]], 3)},
    }
