"""Whole comparisons on a tiny model: what is shared, what is measured, what is written, what a kill leaves."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from heedful.cli.root import main
from heedful.tokens.vocabulary import Vocabulary
from heedful.training import reference
from heedful.training.loop import Loop
from heedful.training.metrics import lasting, read_metrics
from heedful.types import UserError
from heedful.workflows.compare import compare
from heedful.workflows.compare_runs import tabulate
from tests.end_to_end.runs import write_pairs
from tests.fakes import save_tiny_model
from tests.reports.test_reports import check_self_contained
from tests.training.small_runs import Fault, failing_at

MEMBERS = ("sft", "dpo", "sft+dpo", "kto", "slic")
ANSWER = " is fine and has "
"""In every chosen answer, and in no prompt."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 pairs and a tiny model."""
    place = tmp_path_factory.mktemp("compare")
    write_pairs(place / "pairs.jsonl")
    save_tiny_model(place / "model")
    return place


def words(place: Path, out: str, *more: str, cache: str = "cache") -> list[str]:
    """Settings of a small comparison; what comes later wins."""
    chosen = {"model": place / "model", "data": place / "pairs.jsonl", "out": place / out, "cache_dir": place / cache}
    chosen |= {
        "eval_fraction": 0.4,
        "batch_size": 4,
        "lr": 1e-3,
        "max_length": 128,
        "tokens_per_pack": 400,
        "threads": 1,
    }
    chosen |= {"device": "cpu", "max_new_tokens": 8, "samples_per_prompt": 2, "evaluate": "length"}
    return [*(f"{key}={value}" for key, value in chosen.items()), *more]


def run(place: Path, out: str, members: Sequence[str] = MEMBERS, *more: str, **kwargs: Any) -> list[str]:
    """Compare, and give the lines that were said."""
    said: list[str] = []
    compare(members, words(place, out, *more, **kwargs), echo=said.append)
    return said


def lasting_rows(run: Path) -> list[dict[str, Any]]:
    """A run's metrics but those that two equal runs may differ in."""
    return [lasting(row) for row in read_metrics(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def seen(place: Path) -> dict[str, Any]:
    """One comparison, with what passed through the tokenizer, the reference and the steps on the way."""
    seen: dict[str, Any] = {"texts": Counter(), "references": Counter(), "rows": {}}
    patch = pytest.MonkeyPatch()
    tokenise, pack, one_step = Vocabulary._encode, reference.build_pack, Loop.one_step

    def counted_tokens(self: Vocabulary, texts: Sequence[str]) -> list[list[int]]:
        seen["texts"].update(texts)
        return tokenise(self, texts)

    def counted_pack(store: Any, rows: Any, **kwargs: Any) -> Any:
        found = pack(store, rows, **kwargs)
        seen["references"].update(store.response_key(int(row)) for row in found.response_rows)
        return found

    def noted_step(self: Loop, batch: Any) -> None:
        origins = sorted(self.source.store.origin(int(row)) for row in batch.rows)
        seen["rows"].setdefault(self.run.name, []).append(origins)
        one_step(self, batch)

    patch.setattr(Vocabulary, "_encode", counted_tokens)
    patch.setattr(reference, "build_pack", counted_pack)
    patch.setattr(reference, "_still_true", lambda *args: True)  # else some are looked at again
    patch.setattr(Loop, "one_step", noted_step)
    try:
        seen["said"] = run(place, "whole")
    finally:
        patch.undo()
    return seen


def test_every_text_is_tokenised_once_whatever_form_it_is_wanted_in(seen: dict[str, Any]):
    answers = Counter({text: n for text, n in seen["texts"].items() if ANSWER in text})
    matched = [
        text for text in answers if text.split("number ")[1].split(".")[0] == text.split("has ")[1].split(" ")[0]
    ]
    assert len(matched) == 24, "each prompt with its own answer"
    assert set(answers.values()) == {1}


def test_the_reference_reads_every_response_once(seen: dict[str, Any], place: Path):
    # dpo and kto hold to the same reference; sft+dpo has one of its own, the final model of sft.
    folders = [path for path in (place / "cache" / "reference").iterdir() if path.is_dir()]
    assert len(folders) == 2
    # 48 responses, which both references read, and one mismatched answer to each prompt beside kto's, once.
    twice = [key for key, n in seen["references"].items() if n == 2]
    once = [key for key, n in seen["references"].items() if n == 1]
    assert len(twice) == 48
    assert len(once) <= 24
    assert len(twice) + len(once) == len(seen["references"])


def test_all_see_the_same_data_in_the_same_order(seen: dict[str, Any]):
    orders = seen["rows"]
    assert set(orders) == set(MEMBERS)
    assert all(order == orders["sft"] for order in orders.values())


def test_the_files_say_the_same(seen: dict[str, Any], place: Path):
    out = place / "whole"
    table = json.loads((out / "table.json").read_text())
    names = ["base", *MEMBERS, "data"]
    assert [row["name"] for row in table["models"]] == names
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == names
    for row, line in zip(table["models"], lines, strict=True):
        assert float(line["reward"]) == row["rewards"]["reward"]["value"]
    dpo = table["models"][2]
    assert dpo["num_prompts"] == 7, "of 10 held-out prompts, 3 are for validation"
    assert dpo["cost"]["steps"] == 4
    assert table["models"][3]["cost"]["steps"] == 8, "a chain costs all its links"
    assert dpo["wins"]["reward"].keys() == {"base", "sft", "sft+dpo", "kto", "slic", "data"}
    assert dpo["used"]["examples_used"] == 14
    page = (out / "report.html").read_text()
    check_self_contained(page)
    for text in ("Win rates", "sft+dpo", "eval/reward", "Settings that differ", "objective"):
        assert text in page
    assert "| dpo |" in (out / "table.md").read_text()
    assert json.loads((out / "runs" / "dpo" / "evaluation.json").read_text())["rewards"] == dpo["rewards"]


def test_validation_comes_before_the_first_step_and_twice_an_epoch(seen: dict[str, Any], place: Path):
    rows = [row for row in lasting_rows(place / "whole" / "runs" / "kto") if "eval/reward" in row]
    assert [row["step"] for row in rows] == [0, 2, 4], "14 examples in steps of 4 are 3½ steps an epoch"
    assert all(row["eval/reward"] == row["eval/reward/length"] for row in rows)
    assert {"eval/failed", "eval/answer_tokens"} <= rows[0].keys()
    firsts = [lasting_rows(place / "whole" / "runs" / name)[0]["eval/reward"] for name in ("sft", "dpo", "kto", "slic")]
    assert len(set(firsts)) == 1, "the same model, prompts and random numbers"


def test_the_same_command_changes_nothing(seen: dict[str, Any], place: Path):
    out = place / "whole"
    before = {path: path.read_bytes() for path in out.rglob("*.json*") if path.is_file()}
    assert any("this run is finished" in line for line in run(place, "whole"))
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_comparison_goes_on_to_the_same_end(seen: dict[str, Any], place: Path):
    more = ("checkpoint_every=1",)
    with failing_at(3), pytest.raises(Fault):
        run(place, "broken", ("dpo", "kto"), *more)
    assert not (place / "broken" / "runs" / "kto").exists()
    assert not (place / "broken" / "runs" / "dpo" / "final").exists()
    run(place, "broken", ("dpo", "kto"), *more)
    for name in ("dpo", "kto"):
        assert lasting_rows(place / "broken" / "runs" / name) == lasting_rows(place / "whole" / "runs" / name)
    tables = [json.loads((place / out / "table.json").read_text())["models"] for out in ("broken", "whole")]
    ours, whole = ({row["name"]: row for row in rows} for rows in tables)
    assert ours["kto"]["rewards"] == whole["kto"]["rewards"]
    assert ours["kto"]["wins"]["reward"]["dpo"] == whole["kto"]["wins"]["reward"]["dpo"]


def test_more_may_join_and_what_is_finished_is_not_run_again(seen: dict[str, Any], place: Path):
    finished = place / "broken" / "runs" / "dpo" / "final" / "model.safetensors"
    before = finished.stat().st_mtime_ns
    said = run(place, "broken", ("dpo", "kto", "slic"), "checkpoint_every=1")
    assert finished.stat().st_mtime_ns == before
    assert sum("this run is finished" in line for line in said) == 2
    names = [row["name"] for row in json.loads((place / "broken" / "table.json").read_text())["models"]]
    assert names == ["base", "dpo", "kto", "slic", "data"]


def test_when_nothing_improves_the_first_model_is_the_best_and_it_is_said(place: Path):
    (place / "same.py").write_text("def same(prompts, responses):\n    return [1.0] * len(responses)\n")
    said = run(place, "flat", ("dpo",), f"evaluate={place}/same.py:same", "temperature=0")
    assert any("no step was better than the model it started from" in line for line in said)
    [_base, dpo, _data] = json.loads((place / "flat" / "table.json").read_text())["models"]
    assert (dpo["measured_step"], dpo["num_steps"]) == (0, 4)
    assert dpo["wins"]["reward"]["base"]["value"] == 0.5, "the same model ties with itself"
    assert dpo["kl"] is None, "its answers are the likeliest, not drawn from it"
    trainer = json.loads((place / "flat" / "runs" / "dpo" / "checkpoints" / "step-4" / "trainer.json").read_text())
    assert (trainer["best"], trainer["best_step"]) == (1.0, 0)


def test_different_data_is_said(place: Path):
    rows = (place / "pairs.jsonl").read_text().splitlines()
    lonely = json.loads(rows[0])
    demonstration = {"prompt": [{"role": "user", "content": "Who?"}], "completion": lonely["chosen"]}
    mixed = place / "mixed"
    mixed.mkdir()
    (mixed / "a.jsonl").write_text("\n".join(rows) + "\n")
    (mixed / "b.jsonl").write_text(json.dumps(demonstration) + "\n")
    eval_data = write_pairs(place / "held-out.jsonl", 30)
    more = (f"data={mixed}", f"eval_data={eval_data}", "eval_fraction=null", "steps=1", "evaluate=")
    said = run(place, "unequal", ("sft", "dpo"), *more)
    assert any(line.startswith("NOT THE SAME DATA: of the examples, each could use sft 25, dpo 24") for line in said)


def test_prompts_that_leave_no_room_for_an_answer_are_not_asked(place: Path):
    said: list[str] = []
    held_out = write_pairs(place / "with-long.jsonl", 30)
    long = json.loads(held_out.read_text().splitlines()[0])
    long["prompt"][0]["content"] = "Why? " * 200
    held_out.write_text(held_out.read_text() + json.dumps(long) + "\n")
    more = (f"eval_data={held_out}", "eval_fraction=null")
    compare(("sft",), words(place, "long", *more), dry_run=True, echo=said.append)
    assert said[0] == "1 held-out prompts are left out: they leave no room for an answer"


def test_a_dry_run_writes_nothing(place: Path):
    said: list[str] = []
    compare(("sft", "sft+dpo"), words(place, "dry"), dry_run=True, echo=said.append)
    assert not (place / "dry").exists()
    text = "\n".join(said)
    for part in (
        "would train dpo(",
        "from the final model of sft",
        "GiB",
        "14 answers of at most 8 tokens",
        "3 models",
    ):
        assert part in text


MISTAKES = {
    "model=nowhere/model": "no such folder",
    "evaluate=lenght": "Did you mean 'length'",
    "data=nowhere.jsonl": "nowhere.jsonl",
    "eval_fraction=0.05": "1 held-out prompts are too few",
}


@pytest.mark.parametrize("word", MISTAKES)
def test_mistakes_are_told_before_anything_runs(place: Path, word: str):
    with pytest.raises(UserError, match=MISTAKES[word]):
        run(place, "mistaken", ("sft", "dpo"), word)
    assert not (place / "mistaken").exists()


def test_a_reward_model_is_not_compared(place: Path):
    with pytest.raises(UserError, match="reward trains a model that gives scores, not answers"):
        run(place, "mistaken", ("sft", "reward"))


def test_what_a_comparison_began_with_stays(seen: dict[str, Any], place: Path):
    with pytest.raises(UserError, match="its judges changed since the comparison began"):
        run(place, "whole", MEMBERS, "evaluate=length,parses")
    with pytest.raises(UserError, match=r"lr was 0\.001 and is now 0\.1"):
        run(place, "whole", MEMBERS, "lr=0.1")
    (place / "full").mkdir()
    (place / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no comparison"):
        run(place, "full")


def test_runs_are_tabulated_whatever_they_are(seen: dict[str, Any], place: Path, capsys: pytest.CaptureFixture[str]):
    runs = place / "whole" / "runs"
    tabulate([runs / "sft", runs / "kto"], place / "table")
    with (place / "table" / "table.csv").open() as file:
        [sft, kto] = list(csv.DictReader(file))
    rows = {row["step"]: row["eval/reward"] for row in lasting_rows(runs / "kto") if "eval/reward" in row}
    assert float(kto["best"]) == max(rows.values()) == rows[int(kto["best_step"])]
    assert float(kto["worst"]) == min(rows.values()) == rows[int(kto["worst_step"])]
    assert float(kto["validation/reward/length"]) == rows[int(kto["best_step"])]
    measured = json.loads((runs / "kto" / "evaluation.json").read_text())["rewards"]["length"]
    assert float(kto["test/length"]) == measured["value"]
    assert (sft["status"], sft["data"], kto["data"]) == ("finished", "A", "A")
    check_self_contained((place / "table" / "report.html").read_text())
    assert "NOT" not in capsys.readouterr().out


def test_runs_on_other_data_and_unfinished_ones_are_named(seen: dict[str, Any], place: Path):
    from tests.training.small_runs import small_run

    write_pairs(place / "other.jsonl", 20)
    small_run(place, "sft", "other", data=str(place / "other.jsonl"))
    with failing_at(3), pytest.raises(Fault):
        small_run(place, "dpo", "half", data=str(place / "other.jsonl"))
    said: list[str] = []
    tabulate([place / "whole" / "runs" / "sft", place / "other", place / "half"], place / "mixed-table", said.append)
    assert any("NOT THE SAME DATA" in line and "(sft A, other B, half B)" in line for line in said)
    assert "NOT FINISHED: half" in said
    assert any("different metrics" in line for line in said)


def test_the_command(place: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    runs = [str(place / "whole" / "runs" / name) for name in ("dpo", "kto")]
    assert main(["compare", "--from", *runs, f"out={place / 'by-command'}"]) == 0
    assert "Wrote" in capsys.readouterr().out
    assert (place / "by-command" / "report.html").exists()
    assert main(["compare", *MEMBERS, *words(place, "whole")]) == 0
    said = capsys.readouterr().out
    assert "Next: heed sample" in said
    assert main(["compare", "--from", *runs, "lr=3"]) == 2
    assert main(["compare", "sft", "dop", *words(place, "none")]) == 2
    assert "did you mean dpo" in capsys.readouterr().err


def test_control_tokens_stand_in_the_prompts_of_the_model_that_was_trained_with_them(place: Path):
    run(place, "control", ("csft",), "validation_prompts=0", "steps=1")
    [base, csft, _] = json.loads((place / "control" / "table.json").read_text())["models"]
    seeds = [
        json.loads((place / "control" / "samples" / f"{name}.jsonl").read_text().splitlines()[0])["responses"][0][
            "extra"
        ]
        for name in ("base", "csft")
    ]
    assert seeds[0]["seed"] != seeds[1]["seed"], "a sample is a function of its prompt's tokens, which differ"
    assert csft["kl"]["value"] == pytest.approx(csft["kl_per_token"]["value"] * csft["tokens"])
    assert base["kl"] is None


def test_a_chain_continues_an_adapter(place: Path):
    run(place, "adapters", ("sft+dpo",), "lora.r=2", "validation_prompts=0", "steps=1")
    made = place / "adapters" / "runs" / "sft+dpo" / "final"
    assert json.loads((made / "adapter_config.json").read_text())["r"] == 2
    [_base, chained, _data] = json.loads((place / "adapters" / "table.json").read_text())["models"]
    assert chained["metrics"]["loss"] == pytest.approx(math.log(2)), "its reference is the adapter that it starts from"


@pytest.mark.slow
def test_the_page_on_comparing_works_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).resolve().parents[2] / "docs" / "comparing.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_pairs(tmp_path / "pairs.jsonl")
    save_tiny_model(tmp_path / "small")
    (tmp_path / "comparison.yaml").write_text("".join(re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)))
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)).splitlines()
    assert len(commands) == 2
    for line in [*commands, "heed compare --config comparison.yaml --dry-run"]:
        assert main(shlex.split(line)[1:]) == 0, line
    assert (tmp_path / "compared" / "table.md").exists()
    assert (tmp_path / "table" / "report.html").exists()
