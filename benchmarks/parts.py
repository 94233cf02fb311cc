"""The parts of the benchmark, each run in a process of its own.

`python -m benchmarks.parts NAME FOLDER CORPUS [quick]` writes FOLDER/result.json; the first part writes the corpus.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contest import Effort, contest
from benchmarks.corpus import Corpus, open_corpus, write_corpus

THREADS = 2
PAIRS = 400
"""Pairs that are written; contests take the first of them."""

FULL = Effort(pairs=40, rounds=3, budget_s=0.0)
QUICK = Effort(pairs=8, rounds=1, budget_s=0.0)
CHEAP_S = 45.0
"""Contests without a reference are short: they go on until they have taken this long."""

Part = Callable[[Corpus, Path, Effort], Any]


def parts() -> dict[str, Part]:
    """Name and function of every part, in the order in which they run."""
    from benchmarks.annotation import annotation
    from benchmarks.documents import documents
    from benchmarks.growth import growth
    from benchmarks.memory import memory
    from benchmarks.objectives import objectives
    from benchmarks.packing import packing
    from benchmarks.rollouts import rollouts
    from benchmarks.startup import startup

    return {
        "startup": lambda corpus, work, effort: startup(9 if effort.rounds > 1 else 3),
        "dpo": lambda corpus, work, effort: contest(corpus, "dpo", work, effort),
        "kto": lambda corpus, work, effort: contest(corpus, "kto", work, effort),
        "reward": lambda corpus, work, effort: contest(corpus, "reward", work, _longer(effort)),
        "simpo": lambda corpus, work, effort: contest(corpus, "simpo", work, effort),
        "slic": lambda corpus, work, effort: contest(corpus, "slic", work, effort),
        "a_lol": lambda corpus, work, effort: contest(corpus, "a_lol", work, effort),
        "objectives": lambda corpus, work, effort: objectives(corpus, work, effort),
        "sft": lambda corpus, work, effort: contest(corpus, "sft", work, _longer(effort)),
        "documents": lambda corpus, work, effort: documents(corpus, work, effort),
        "annotation": lambda corpus, work, effort: annotation(work, effort),
        "growth": lambda corpus, work, effort: growth(corpus, work, _fewer(effort)),
        "rollouts": lambda corpus, work, effort: rollouts(corpus.first(160, work / "data"), work, _fewer(effort)),
        "packing": lambda corpus, work, effort: packing(corpus, work),
        "memory": lambda corpus, work, effort: memory(corpus, work),
    }


def _longer(effort: Effort) -> Effort:
    return Effort(effort.pairs, effort.rounds, CHEAP_S) if effort.rounds > 1 else effort


def _fewer(effort: Effort) -> Effort:
    return Effort(effort.pairs, max(1, effort.rounds - 1), effort.budget_s)


def environment() -> dict[str, str]:
    """The environment of a part: nothing from a network, a fixed number of threads, no progress bars."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    quiet |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, "OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}


def run(name: str, folder: Path, corpus: Path, *, quick: bool) -> None:
    """Run one part in this process and write what it found as JSON."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    data = open_corpus(corpus) if corpus.exists() else write_corpus(corpus, PAIRS)
    found = parts()[name](data, folder, QUICK if quick else FULL)
    (folder / "result.json").write_text(json.dumps({"data": data.source, "result": found}), encoding="utf-8")


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), quick="quick" in sys.argv[4:])
