"""Mistakes of the published pretraining code that ours must not make, where no other test has them.

A scorer that watches is not the one that scored; GPT-2's attention scaling falls under the table; a correlation of
constants is not a number; the share of samples that parse is asked for and missing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.config import ScoreConfig
from heedful.models import PackedModel, attention, to_tensors
from heedful.training import train
from heedful.training.metrics import read_metrics
from heedful.workflows.annotating import annotate_documents
from heedful.workflows.compare_documents import SeedRun, measured
from heedful.workflows.compare_documents_report import columns
from heedful.workflows.reference_value_fit import judged
from heedful.workflows.watching import make_watch
from tests.fakes import tiny_model
from tests.models.packs import make_pack, plain_logps
from tests.training.small_runs import small_config

WATCH = {"scorer": "pep8", "scenarios": [{"name": "free", "num_samples": 4, "max_new_tokens": 4}]}


def said_by(place: Path, objective: dict[str, Any], out: str, **settings: Any) -> tuple[Path, list[str]]:
    said: list[str] = []
    config = small_config(place, objective, out, max_length=32, **settings)
    return train(config, echo=said.append, watch=make_watch(config)), said


class TestScorers:
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory) -> Path:
        place = tmp_path_factory.mktemp("scorers")
        texts = [f"def f{i}(a,b):\n    return a\n" for i in range(12)]
        (place / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        for scorer in ("pep8", "length"):
            asked = ScoreConfig.model_validate({"data": str(place / "raw.jsonl"), "out": place / scorer})
            annotate_documents(scorer, asked, echo=lambda line: None)
        return place

    def test_one_that_watches_and_is_not_the_one_that_scored_is_told(self, place):
        _, said = said_by(place, {"name": "mle"}, "other", data=str(place / "length"), watch=WATCH)
        told = "the documents were scored by length, and what is watched is by pep8: their numbers, "
        assert [line.startswith(told) for line in said].count(True) == 1

    @pytest.mark.parametrize(("data", "watch"), [("pep8", WATCH), ("raw.jsonl", WATCH), ("length", None)])
    def test_where_they_are_one_nothing_is_said(self, place, data, watch):
        out = f"same-{data}-{watch is None}"
        _, said = said_by(place, {"name": "mle"}, out, data=str(place / data), watch=watch)
        assert not any("were scored by" in line for line in said)


SCALED = [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}, {"reorder_and_upcast_attn": True}]


@pytest.mark.parametrize("settings", [*SCALED, {k: v for one in SCALED for k, v in one.items()}])
def test_the_attention_of_gpt2_is_scaled_as_its_config_says(settings):
    """Packed as the model's own plain attention; what scales in earnest changes what comes out."""
    model, pack = tiny_model("gpt2", **settings), make_pack()
    model.set_attn_implementation("eager")
    wanted = plain_logps(model, pack)
    attention.register()
    model.set_attn_implementation(attention.NAME)
    got = PackedModel(model)(to_tensors(pack), {"logps"})["logps"]
    assert float((got - wanted).detach().abs().max()) <= 1e-5
    plain = plain_logps(tiny_model("gpt2"), pack)
    assert (float((wanted - plain).detach().abs().max()) > 1e-3) == (settings != SCALED[-1])


class TestConstants:
    @pytest.mark.parametrize("own", [{}, {"normalize_advantages": True}])
    def test_every_number_of_a_run_on_equal_scores_is_one(self, tmp_path, own):
        """The value head says -½ everywhere at first: neither rewards nor values differ."""
        rows = [
            {"text": f"x = {i}\n", "score": 0.0, "spans": [{"start": 0, "end": 4, "score": 0.0}]} for i in range(12)
        ]
        (tmp_path / "flat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run, _ = said_by(tmp_path, {"name": "awr", **own}, "out", data=str(tmp_path / "flat.jsonl"))
        steps = [row for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
        assert len(steps) == 4
        assert steps[0]["train/values"] == pytest.approx(-0.5)
        assert steps[0]["train/advantages"] == pytest.approx(0.0 if own else 0.5, abs=1e-6)
        numbers = [value for row in steps for value in row.values() if not isinstance(value, str | bool)]
        assert all(value is not None and math.isfinite(value) for value in numbers)

    def test_a_correlation_of_constants_is_none(self):
        flat, rising = np.full(20, -0.5), np.linspace(0, 1, 20)
        assert judged(flat, rising)["correlation"] is None
        assert judged(rising, flat)["correlation"] is None
        assert judged(rising, rising)["correlation"] == pytest.approx(1.0)


def test_a_comparison_has_the_share_of_samples_that_parse(tmp_path):
    """Of functions two of three with their headers, alone one of the two after the last step."""
    lines = "".join(json.dumps({"text": f"def f{i}(a):\n    return a\n"}) + "\n" for i in range(12))
    (tmp_path / "code.jsonl").write_text(lines)
    watch = {
        **WATCH,
        "scenarios": [{"name": name, "num_samples": 2, "max_new_tokens": 4} for name in ("free", "heads")],
    }
    settings = {"data": str(tmp_path / "code.jsonl"), "watch": watch, "eval_fraction": 0.3, "steps": 1}
    run, _ = said_by(tmp_path, {"name": "mle"}, "out", **settings)
    samples = [
        (0, "free", "", "x = 1\n"), (1, "free", "", "x = 1\n"), (1, "free", "", "x = = 1\n"),
        (1, "heads", "def f():\n", "    return 1\n"), (1, "heads", "def f():\n", "return 1\n"),
        (1, "heads", "def f():\n", "    pass\n"),
    ]  # fmt: skip
    rows = [{"step": s, "kind": "sample", "name": n, "prompt": p, "text": t, "score": 0.0} for s, n, p, t in samples]
    rows.append({"step": 1, "kind": "segment", "name": "code", "prompt": "", "text": "x = = 1\n", "score": 0.0})
    (run / "watched.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = small_config(tmp_path, {"name": "mle"}, "out", max_length=32, **settings)
    found = measured(config, None, lambda line: None)
    assert found["generation/free/parses"] == 0.5
    assert found["generation/heads/parses"] == pytest.approx(2 / 3)
    shown = columns([SeedRun("mle", 0, config, found)])
    assert (shown["generation/free/parses"], shown["generation/heads/parses"]) == ("free: parse", "heads: parse")
