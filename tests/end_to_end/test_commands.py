"""Every command from beginning to end, each in a process of its own: one story from pairs to a merged, scored model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from heedful.examples import read_jsonl, read_parquet
from tests.end_to_end.runs import heed, write_pairs

pytestmark = pytest.mark.slow

SMALL = ("max_length=128", "threads=1", "batch_size=8", "steps=3", "lr=1e-3")
COMMANDS = ["demo", "train", "score", "sample", "report", "recipes", "objectives", "check", "doctor"]
COMMANDS += ["data-check", "data-show", "data-convert", "data-prepare", "model-new", "model-convert", "model-merge"]


def done(place: Path, *words: str) -> str:
    """What a command said that did its whole job; a command that succeeds has nothing to say on stderr."""
    process: subprocess.CompletedProcess[str] = heed(place, *words)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs and a new model whose tokenizer was trained on them."""
    folder = tmp_path_factory.mktemp("commands")
    write_pairs(folder / "pairs.jsonl")
    size = ("--vocab-size", "400", "--layers", "2", "--hidden-size", "32", "--heads", "2", "--max-length", "256")
    said = done(folder, "model", "new", "tiny", "pairs.jsonl", *size)
    assert said == "Wrote tiny, untrained. Next: heed train sft model=tiny data=pairs.jsonl\n"
    return folder


@pytest.fixture(scope="module")
def judge(place: Path) -> Path:
    said = done(place, "train", "reward", "model=tiny", "data=pairs.jsonl", "out=judge", *SMALL)
    assert said.splitlines()[-2:] == [
        "The model is in judge/final, its curves in judge/report.html.",
        "Next: heed score judge FILE   heed report judge ANOTHER_RUN",
    ]
    return place / "judge"


@pytest.fixture(scope="module")
def policy(place: Path) -> Path:
    """A LoRA run of DPO, evaluated while it trains."""
    words = ("eval_fraction=0.25", "eval_every=2", "lora.r=4", "out=policy")
    said = done(place, "train", "dpo", "model=tiny", "data=pairs.jsonl", *words, *SMALL)
    assert "eval/loss" in said
    return place / "policy"


@pytest.fixture(scope="module")
def merged(place: Path, policy: Path) -> Path:
    assert "Wrote merged" in done(place, "model", "merge", "policy", "merged")
    return place / "merged"


@pytest.fixture(scope="module")
def answers(place: Path, merged: Path) -> Path:
    words = ("--samples-per-prompt", "3", "--max-new-tokens", "8", "--out", "answers.jsonl")
    said = done(place, "sample", "merged", "pairs.jsonl", *words)
    assert said.endswith("Next: heed score REWARD_MODEL answers.jsonl\n")
    return place / "answers.jsonl"


def test_the_new_model_loads_in_plain_transformers(place: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(place / "tiny"),
        AutoTokenizer.from_pretrained(place / "tiny"),
    )
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (2, 32)
    text = "Tell me about the cat, please."
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_data_check_show_and_convert(place: Path) -> None:
    data = ("model=tiny", "data=pairs.jsonl", "max_length=128")
    assert "24 trained on, 0 dropped" in done(place, "data", "check", "kto", *data)
    assert "Tell me about the cat" in done(place, "data", "show", "dpo", *data, "--num", "1")
    done(place, "data", "convert", "pairs.jsonl", "ours.parquet")
    said = done(place, "data", "convert", "ours.parquet", "trl.jsonl", "--to", "preference")
    assert "Wrote trl.jsonl: 24 rows." in said
    assert [json.loads(line) for line in (place / "trl.jsonl").open()] == [
        json.loads(line) for line in (place / "pairs.jsonl").open()
    ]
    assert all(len(example.responses) == 2 for example in read_parquet(place / "ours.parquet"))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(place: Path, judge: Path) -> None:
    before = sorted(place.iterdir())
    said = done(place, "train", "dpo", "demo/dpo", "model=tiny", "data=pairs.jsonl", "out=never", *SMALL, "--dry-run")
    for part in ("would train dpo(beta=0.1", "3 steps of 8 prompts", "24 examples", "GiB", "in about", "into never"):
        assert part in said
    said = done(place, "sample", "tiny", "pairs.jsonl", "--max-new-tokens", "8", "--out", "never.jsonl", "--dry-run")
    for part in ("24 answers of at most 8 tokens to 24 prompts", "parameters", "in at most about", "into never.jsonl"):
        assert part in said
    said = done(place, "score", "judge", "pairs.jsonl", "--out", "never.jsonl", "--dry-run")
    for part in ("48 responses to 24 prompts", "parameters", "in about", "into never.jsonl"):
        assert part in said
    assert "In never, " in done(place, "demo", "--out", "never", "--dry-run")
    assert sorted(place.iterdir()) == before


def test_a_run_folder_holds_what_it_promises(judge: Path, policy: Path) -> None:
    for run in (judge, policy):
        for name in ("config.yaml", "environment.json", "data.json", "metrics.jsonl", "report.html", "final"):
            assert (run / name).exists(), name
    assert (policy / "final" / "adapter_config.json").is_file()
    counts = json.loads((judge / "data.json").read_text())["train"]
    assert (counts["num_in"], counts["num_trained"], counts["dropped"]) == (24, 24, {})
    rows = [json.loads(line) for line in (policy / "metrics.jsonl").open()]
    assert [row["step"] for row in rows if "eval/loss" not in row] == [1, 2, 3]


def test_the_adapter_and_the_merged_model_are_one_model(merged: Path, policy: Path) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([[5, 9, 40, 41, 300]])
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(merged)(ids).logits
        adapted = AutoPeftModelForCausalLM.from_pretrained(policy / "final")(ids).logits
    torch.testing.assert_close(plain, adapted, atol=1e-5, rtol=1e-5)


def test_answers_are_scored_and_train_the_next_model(place: Path, judge: Path, answers: Path) -> None:
    done(place, "score", "judge", "answers.jsonl", "--out", "scores.jsonl")
    scored = read_jsonl(place / "scores.jsonl")
    assert len(scored) == 24
    assert all(
        len(example.responses) == 3 and response.reward is not None
        for example in scored
        for response in example.responses
    )
    done(place, "score", "length", "answers.jsonl", "--out", "lengths.jsonl")
    assert all(r.reward == len(r.text) for example in read_jsonl(place / "lengths.jsonl") for r in example.responses)
    said = done(place, "data", "check", "dpo", "model=tiny", "data=scores.jsonl", "prefer=reward", "max_length=128")
    assert "Nothing stands in the way" in said


def test_bin_weights_become_the_same_safetensors(place: Path) -> None:
    from safetensors.torch import load_file

    old = place / "old"
    old.mkdir()
    weights = load_file(place / "tiny" / "model.safetensors")
    for file in (place / "tiny").iterdir():
        if file.suffix != ".safetensors":
            (old / file.name).write_bytes(file.read_bytes())
    torch.save(weights, old / "pytorch_model.bin")
    done(place, "model", "convert", "old", "converted")
    assert {name: tensor.tolist() for name, tensor in load_file(place / "converted" / "model.safetensors").items()} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }


def test_a_report_compares_runs(place: Path, judge: Path, policy: Path) -> None:
    assert done(place, "report", "judge", "policy", "--out", "both.html") == (
        "Wrote both.html. Open it in any browser.\n"
    )
    page = (place / "both.html").read_text()
    assert "judge" in page
    assert "policy" in page


def test_lists_and_the_doctor(place: Path) -> None:
    assert "demo/dpo" in done(place, "recipes")
    assert "objective" in done(place, "recipes", "demo/dpo")
    assert "Rafailov" in done(place, "objectives", "dpo")
    assert "Nothing stands in the way" in done(place, "doctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: that help starts fast and loads nothing heavy is tested elsewhere."""
    from heedful.cli.root import main

    assert main([*command.split("-"), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: heed {command.replace('-', ' ')}")
    assert "Example" in said
    assert ("--dry-run" in said) == (command in ("train", "score", "sample", "demo"))
