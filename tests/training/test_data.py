"""From settings to stores: what is read, what is said meanwhile, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from heedful import progress
from heedful.config import TrainConfig, load_train
from heedful.examples import load_with_report
from heedful.models.folders import resolve
from heedful.objectives import get
from heedful.progress import counting
from heedful.training import shaping
from heedful.training.data import prepare_data
from heedful.training.run_folder import inspect_run
from heedful.training.shaping import load_template
from heedful.training.train import resolve_objective
from heedful.types import UserError
from tests.training.small_runs import small_config, small_run


@pytest.fixture
def place(tmp_path) -> Path:
    small_config(tmp_path, "dpo", "out")  # makes model and pairs
    return tmp_path


def prepared(config: TrainConfig) -> tuple[Any, list[str]]:
    objective, lines = resolve_objective(config), []
    template = load_template(config, objective)
    return prepare_data(config, objective, template, Path(str(config.cache_dir)), lines.append), lines


def test_a_line_every_few_seconds_says_how_long_it_takes(monkeypatch):
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 25.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines: list[str] = []
    count = counting("examples tokenised", lines.append)
    for done in (100, 1000, 1200, 2000, 4000):
        count(done, 4000)
    # 10 s for 1,000 of 4,000: 30 s for the rest.  Nothing 2 s later, nor at the end.
    assert lines == ["1,000 of 4,000 examples tokenised  30 s left", "2,000 of 4,000 examples tokenised  20 s left"]


def test_long_tokenising_shows_progress(place, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    monkeypatch.setattr(sys.modules["heedful.tokens.prepare"], "BLOCK", 10)
    _, lines = prepared(small_config(place, "dpo", "out"))
    assert [line.partition("  ")[0] for line in lines if "tokenised" in line and "left" in line] == [
        "10 of 24 examples of the train data tokenised",
        "20 of 24 examples of the train data tokenised",
    ]


def test_the_tokenizer_is_resolved_as_the_model_is(place, monkeypatch):
    asked = []

    def recording(name: str, *, trust_remote_code: bool = False) -> str:
        asked.append(trust_remote_code)
        return resolve(name, trust_remote_code=trust_remote_code)

    monkeypatch.setattr(shaping, "resolve", recording)
    for trust in (True, False):
        config = small_config(place, "dpo", "out", trust_remote_code=trust)
        load_template(config, resolve_objective(config))
    assert asked == [True, False]


def test_a_source_may_be_spelled_out(place):
    pairs = str(place / "pairs.jsonl")
    words = [f"model={place / 'model'}", f"data=[{{name: {pairs}, proportion: 1/2}}]", f"cache_dir={place / 'cache'}"]
    data, _ = prepared(load_train((), words, find=get, objective="dpo"))
    assert data.train.num_examples == 12
    small = small_config(place, "dpo", "out", data={"name": pairs, "proportion": 0.25})
    assert prepared(small)[0].train.num_examples == 6
    assert TrainConfig.model_validate(small.model_dump(mode="json")) == small


def test_a_spelled_out_source_is_not_deleted_with_the_run(place):
    run = small_run(place, "dpo", "done")
    inside = run / "pairs.jsonl"
    inside.write_text((place / "pairs.jsonl").read_text())
    again = small_config(place, "dpo", "done", data=[{"name": str(inside)}], overwrite=True)
    with pytest.raises(UserError, match="overwrite=true would delete"):
        inspect_run(again)


def test_a_count_that_was_written_as_a_proportion_is_pointed_out(place):
    pairs = place / "pairs.jsonl"
    lines = load_with_report(f"{pairs}:200")[1].lines()
    assert lines[-1] == "  warning: every example stands there 200 times; for 200 examples write 200/-1"
    assert not any("warning" in line for line in load_with_report(f"{pairs}:9")[1].lines())


def test_an_evaluation_set_without_prompts_of_its_own(place):
    same = small_config(place, "dpo", "out", eval_data=str(place / "pairs.jsonl"))
    with pytest.raises(UserError, match="eval_data has no prompt of its own: all 24 of its examples"):
        prepared(same)
    rows = [json.loads(line) for line in (place / "pairs.jsonl").read_text().splitlines()]
    rows[0]["prompt"][0]["content"] = "Another one?"
    (place / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data, _ = prepared(small_config(place, "dpo", "out", eval_data=str(place / "one.jsonl")))
    assert data.evaluation.num_examples == 1


def test_groups_of_one_have_nothing_to_compare(place):
    """Scored rows are an example each, whatever their prompts: every advantage within such a group would be 0."""
    rows = [{"prompt": "Q:", "completion": f" {word}.", "label": True, "reward": 0.5} for word in ("yes", "no")]
    (place / "lone.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = small_config(place, {"name": "grpo_offline"}, "out", data=str(place / "lone.jsonl"))
    with pytest.raises(UserError, match=r"grpo_offline compares the responses .* none of 2 examples has two .*lone"):
        prepared(config)
