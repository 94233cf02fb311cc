"""Scoring documents: characters per second on one core, and what a second worker adds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import Effort
from benchmarks.corpus import write_jsonl
from benchmarks.documents import sources
from benchmarks.settings import clock
from benchmarks.summary import ratio, summarise
from heedful.scorers import get
from heedful.scorers.documents import judge_documents

SCORERS = ("pep8", "pii")
COMMAND = [sys.executable, "-m", "heedful", "score", "pep8"]
ALONE = 400_000
"""Characters that a scorer gets at once on one core."""
TOGETHER = 40_000_000
"""Characters of the job that one worker and two workers do by turns."""


def annotation(work: Path, effort: Effort) -> dict[str, Any]:
    """Characters per second and core of each scorer; `heed score pep8` with one and with two workers.

    pycodestyle: what pycodestyle does when it calls its checks itself.
    efficiency: the time of one worker over twice that of two, the start of the command and of the workers included.
    """
    rounds, work_of = min(effort.rounds, 3), TOGETHER if effort.rounds > 1 else ALONE
    rates: dict[str, list[float]] = defaultdict(list)
    for texts in portions(4 * effort.rounds + 1):
        for name in SCORERS:
            rates[name].append(rate(name, texts))
        rates["pycodestyle"].append(pycodestyle_rate(texts))
    data = work / "sources.jsonl"
    write_jsonl(data, [{"text": text} for text in sources(work_of, longest=100_000)])
    samples: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for workers in (1, 2):
            out = work / f"scored-{workers}"
            shutil.rmtree(out, ignore_errors=True)
            settings = [f"data={data}", f"out={out}", f"workers={workers}"]
            began = time.perf_counter()
            subprocess.run([*COMMAND, *settings], check=True, stdout=subprocess.DEVNULL)
            samples[f"{workers} worker{'s' * (workers > 1)}"].append(time.perf_counter() - began)
    efficiency = ratio(samples, "1 worker", "2 workers") / 2
    return {
        "characters_per_s": {name: round(median(found)) for name, found in rates.items()},
        "cores": os.cpu_count(),
        "characters": sum(len(text) for text in sources(work_of, longest=100_000)),
        **summarise(samples),
        "ratios": {
            "efficiency": round(efficiency, 3),
            "pep8/pycodestyle": round(median(map(truediv, rates["pep8"], rates["pycodestyle"])), 2),
        },
    }


def portions(number: int) -> Iterator[list[str]]:
    """Texts that no earlier portion had, as far as the library goes: a scorer may remember lines that it has seen."""
    texts = iter(sources(number * ALONE, longest=20_000))
    for _ in range(number):
        found, size = [], 0
        while size < ALONE and (text := next(texts, "")):
            found.append(text)
            size += len(text)
        yield found


def rate(name: str, texts: list[str]) -> float:
    """Characters per second of a scorer in this process."""
    scorer = get(name)
    judge_documents(scorer, ["x = 1\n"])  # what it imports
    began = clock()
    judge_documents(scorer, texts)
    return sum(map(len, texts)) / (clock() - began)


def pycodestyle_rate(texts: list[str]) -> float:
    """Characters per second of pycodestyle itself."""
    import pycodestyle

    parts = [text.splitlines(keepends=True) for text in texts]
    options = pycodestyle.StyleGuide(config_file=False, quiet=2).options
    began = clock()
    for lines in parts:
        pycodestyle.Checker(lines=list(lines), options=options, report=pycodestyle.BaseReport(options)).check_all()
    return sum(len(line) for lines in parts for line in lines) / (clock() - began)
