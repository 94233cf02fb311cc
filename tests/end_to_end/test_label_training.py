"""`heed train dpo` and `heed train kto` on what people decided in a labelling project."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from heedful.cli.root import main
from heedful.labelling.database import Database
from heedful.training.metrics import read_metrics
from tests.fakes import save_tiny_model
from tests.labelling.conftest import answered, make_project, pair

pytestmark = pytest.mark.slow
NUM = 16


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a project in which every second item's better response is the second; two are ties."""
    folder = tmp_path_factory.mktemp("labels")
    save_tiny_model(folder / "model")
    db = Database(str(folder / "labels.db"))
    make_project(db, NUM + 2, questions={"preference": {}, "thumbs": {}})
    said = [{"preference": {"winner": f"r{number % 2}"}} for number in range(NUM)]
    said += [{"preference": {"winner": None, "outcome": "tie"}}] * 2
    judged = [{"r0": number % 2 == 0, "r1": number % 2 == 1} for number in range(NUM + 2)]
    answered(db, "ann", [{**value, "thumbs": thumbs} for value, thumbs in zip(said, judged, strict=True)])
    db.close()
    return folder


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_trained_from_a_project(place, monkeypatch, objective):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HEEDFUL_LABELS", str(place / "labels.db"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = {"model": "model", "data": "label:p", "out": f"runs/{objective}", "steps": 4, "batch_size": 8, "lr": 1e-3}
    words |= {"eval_fraction": 0.25, "eval_every": 2, "threads": 1, "max_length": 128}
    assert main(["train", objective, *(f"{name}={value}" for name, value in words.items())]) == 0
    rows = read_metrics(place / "runs" / objective / "metrics.jsonl")
    judged = [row for row in rows if "eval/loss" in row]
    assert [row["step"] for row in judged][-2:] == [2, 4]
    assert all(math.isfinite(row["eval/loss"]) for row in judged)
    if objective == "dpo":
        assert all(0 <= row["eval/rewards/accuracies"] <= 1 for row in judged)
    else:
        assert all(math.isfinite(row[f"eval/rewards/{which}"]) for row in judged for which in ("chosen", "rejected"))
    assert judged[0]["eval/loss"] != judged[-1]["eval/loss"]
    [file] = (place / "runs" / "labels").glob("*.jsonl")  # both runs read the same answers
    examples = [json.loads(line) for line in file.read_text().splitlines()]
    assert [one.get("better") for one in examples[:NUM]] == [number % 2 for number in range(NUM)]
    assert pair(3).responses[1].messages[0].content == examples[3]["responses"][1]["messages"][0]["content"]
