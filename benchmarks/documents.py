"""Training on documents beside the bare model; how full the packs are; how fast spans become tokens and sequences."""

from __future__ import annotations

import shutil
import sysconfig
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.bare_side import BareRun, bare_batches
from benchmarks.contest import Effort
from benchmarks.corpus import Corpus, write_jsonl
from benchmarks.heed_side import HeedRun
from benchmarks.settings import clock
from benchmarks.summary import ratio, summarise
from heedful.examples import load
from heedful.scorers import get
from heedful.scorers.documents import Judgement, judge_documents
from heedful.tokens.documents import encode_documents, sequences
from heedful.tokens.store import TokenStore

CHARACTERS = 2_000
"""For each pair that other parts train on."""
SETTINGS: dict[str, Any] = {"batch_size": 32, "batch_unit": "sequences", "max_length": 512}


def documents(corpus: Corpus, work: Path, effort: Effort) -> dict[str, Any]:
    """Seconds of one pass of `mle` and of the bare model on the same tokens, and what became of the documents."""
    data = work / "documents.jsonl"
    data.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(data, scored(sources(effort.pairs * CHARACTERS, longest=4 * CHARACTERS)))
    settings = SETTINGS | {"data": str(data), "cache_dir": str(work / "cache")}
    samples: dict[str, list[float]] = defaultdict(list)
    bare: BareRun | None = None
    facts: dict[str, Any] = {}
    for _ in effort.each():
        for _ in range(2):
            run = HeedRun(corpus, "mle", work / "round", settings)
            run.prepare_loop()
            samples["heedful"].append(run.train())
            if bare is None:
                steps = run.steps()
                bare = BareRun(corpus, bare_batches(steps, scores=False), scores=False)
                bare.train()
                facts = run.facts(steps) | {"fill": round(mean(row["fill"] for row in run.metrics()), 4)}
            samples["bare"].append(bare.train())
            samples["mapping"].append(mapping_seconds(run, data, work))
    found = summarise(samples)
    ratios = {
        "tokens/s, heedful/bare": ratio(samples, "bare", "heedful"),
        "model/mapping": ratio(samples, "bare", "mapping"),
    }
    return {**facts, **found, "ratios": {name: round(value, 3) for name, value in ratios.items()}}


def sources(characters: int, *, longest: int) -> list[str]:
    """Modules of Python's standard library, none longer than `longest`, as many as make that many characters."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    found, size = [], 0
    while size < characters:  # a large job goes through them several times
        for path in sorted([*stdlib.glob("*.py"), *stdlib.glob("[a-z]*/*.py")]):
            text = path.read_text(encoding="utf-8", errors="ignore")
            if 200 < len(text) < longest and size < characters:
                found.append(text)
                size += len(text)
    return found


def scored(texts: list[str]) -> list[dict[str, Any]]:
    """Each with the PEP 8 scores of its lines, as a scored corpus is written."""
    found = []
    for text, judgement in zip(texts, judge_documents(get("pep8"), texts), strict=True):
        assert isinstance(judgement, Judgement), judgement
        found.append({"text": text, "score": judgement.score, "spans": [asdict(span) for span in judgement.spans]})
    return found


def mapping_seconds(run: HeedRun, data: Path, work: Path) -> float:
    """Seconds from Examples with spans to a written token store: tokenise, map the spans, lay out sequences."""
    examples = load(str(data))
    template, length = run.context.template, run.context.config.max_length
    shutil.rmtree(work / "store", ignore_errors=True)
    began = clock()
    TokenStore.write_stream(
        work / "store", sequences(encode_documents(template, examples, None), template, length, allow_crossing=False)
    )
    return clock() - began
