"""A few steps of every objective of the first family on public data, where it is present: nothing lost, packs full."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from heedful.cli.root import main
from heedful.config import load_train
from heedful.objectives import get
from heedful.tokens.planning import fill, plan_packs
from heedful.tokens.sampler import Sampler
from heedful.training.metrics import read_metrics
from heedful.workflows.inspection import check

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data here"),
]
FILES = {"scored": ("hh_scored/helpful_base.jsonl.gz", 2354), "raw": ("hh_raw/harmless-base-test.jsonl.gz", 2312)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model whose tokenizer has read some dialogues."""
    folder = tmp_path_factory.mktemp("real")
    size = ("--vocab-size", "2048", "--layers", "2", "--hidden-size", "32", "--heads", "2")
    assert main(["model", "new", str(folder / "tiny"), str(DATA / "hh_scored/dev.jsonl.gz"), *size]) == 0
    return folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("objective", ["sft", "dpo", "kto", "reward"])
def test_some_steps(place: Path, objective: str, file: str) -> None:
    path, num_rows = FILES[file]
    run = place / f"{objective}-{file}"
    words = [f"model={place / 'tiny'}", f"data={DATA / path}", f"out={run}", f"cache_dir={place / 'cache'}"]
    words += ["batch_size=8", "steps=2", "max_length=512", "threads=1", "lr=1e-3"]
    # The reference log-probabilities of the whole set would take longest, so those two see a part of it.
    part = objective in ("dpo", "kto")
    if part:
        reader = "hh-scored" if file == "scored" else "hh-raw"
        words[1] = f"data={reader}:200/-1:{DATA / path}"
    assert main(["train", objective, *words]) == 0
    rows = read_metrics(run / "metrics.jsonl")
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows)
    assert all(row["fill"] >= 0.97 for row in rows)
    counts = json.loads((run / "data.json").read_text())["train"]
    assert counts["num_in"] == (200 if part else num_rows)
    assert counts["num_in"] == counts["num_trained"] + sum(reason["count"] for reason in counts["dropped"].values())
    assert counts["num_trained"] >= 0.98 * counts["num_in"]


@pytest.mark.parametrize("file", FILES)
def test_the_data_check_says_what_is_there(place: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, num_rows = FILES[file]
    words = [f"model={place / 'tiny'}", f"data={DATA / path}", f"cache_dir={place / 'cache'}", "max_length=512"]
    assert main(["data", "check", "reward", *words]) == 0
    said = capsys.readouterr().out
    assert f"{num_rows:,} rows read as hh-{file}" in said
    assert f"{num_rows:,} examples: " in said
    assert "tokens: " in said


@pytest.mark.parametrize("tokens_per_pack", [2048, 4096])
def test_packs_of_eight_pairs_are_full(place: Path, tokens_per_pack: int) -> None:
    """Over a whole epoch, one process: the mean share of pack slots that hold tokens."""
    words = [f"model={place / 'tiny'}", f"data={DATA / FILES['scored'][0]}", f"cache_dir={place / 'cache'}"]
    config = load_train([], [*words, "max_length=512"], find=get, objective="dpo")
    lengths = check(config, echo=lambda line: None).train.example_lengths
    sampler = Sampler(np.ones(len(lengths), np.int64), batch_size=8, epochs=1)
    batches = [lengths[sampler.batch(step)] for step in range(sampler.num_steps)]
    fills = [fill(batch, plan_packs(batch, tokens_per_pack, 1)) for batch in batches]
    assert np.mean(fills) >= 0.97
