"""Two processes draw, condition and score as one does."""

from __future__ import annotations

from typing import Any

import pytest
from safetensors.numpy import load_file

from heedful.training.metrics import lasting, read_metrics
from tests.distributed.test_processes import launch
from tests.end_to_end.runs import run_words

pytestmark = [pytest.mark.slow, pytest.mark.processes]

RUNS: dict[str, dict[str, Any]] = {
    "csft": {},
    "wbc": {"sampling": "all_priority", "rewards": "{length: {normalize: true}}"},
    "a_lol": {"value": "data", "rewards": "length", "value_fit.folds": 3, "value_fit.epochs": 2},
}


def test_two_processes_are_one(tmp_path):
    for processes, engine in ((1, "single"), (2, "ddp")):
        common = {"engine": engine, "eval_every": 3, "steps": 3, "checkpoint_every": 2, "tokens_per_pack": 200}
        runs = [run_words(tmp_path, name, f"{name}-{engine}", **common, **own) for name, own in RUNS.items()]
        done = launch(tmp_path, processes, runs)
        assert done.returncode == 0, done.stderr[-3000:]
    for name in RUNS:
        one, two = (read_metrics(tmp_path / f"{name}-{engine}" / "metrics.jsonl") for engine in ("single", "ddp"))
        assert len(one) == len(two) == 5
        for row, twin in zip(one, two, strict=True):
            row, twin = (lasting(r, "packs", "fill") for r in (row, twin))
            assert row == pytest.approx(twin, rel=2e-4, abs=2e-5)
        weights, others = (
            load_file(tmp_path / f"{name}-{engine}" / "final" / "model.safetensors") for engine in ("single", "ddp")
        )
        for key, weight in weights.items():
            assert others[key] == pytest.approx(weight, rel=1e-3, abs=2e-4), key
