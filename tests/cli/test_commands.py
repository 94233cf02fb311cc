"""Commands from beginning to end on small files: what they write and what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heedful.cli.root import main

WORDS = ("cache_dir=cache", "max_length=64")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with twenty pairs and an untrained model made of them."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Say {i}:", "chosen": f" the number {i}", "rejected": f" no {i % 3}"} for i in range(20)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    size = ("--vocab-size", "300", "--layers", "1", "--hidden-size", "32", "--heads", "2")
    assert main(["model", "new", "tiny", "pairs.jsonl", *size]) == 0
    return tmp_path


def test_check_counts_and_keeps_the_tokens(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "dpo", "model=tiny", "data=pairs.jsonl", *WORDS]) == 0
    said = capsys.readouterr().out
    assert "20 trained on, 0 dropped" in said
    assert "Next: heed train" in said
    assert any((place / "cache").iterdir())


def test_show_prints_the_first_prompts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "dpo", "model=tiny", "data=pairs.jsonl", "--num", "2", *WORDS]) == 0
    said = capsys.readouterr().out
    assert "Say 0:" in said
    assert "Say 1:" in said
    assert "Say 2:" not in said


@pytest.mark.parametrize(("kind", "rows"), [("heedful", 20), ("preference", 20), ("unpaired", 40), ("prompt-only", 20)])
def test_convert_writes_rows(place: Path, kind: str, rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", "pairs.jsonl", "out.jsonl", "--to", kind]) == 0
    assert len((place / "out.jsonl").read_text().splitlines()) == rows
    assert f"Wrote out.jsonl: {rows} rows." in capsys.readouterr().out


def test_train_dry_run_writes_nothing_and_train_says_what_next(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "dpo", "demo/dpo", "model=tiny", "data=pairs.jsonl", "steps=2", "lr=5e-5", *WORDS]
    assert main([*words, "--dry-run"]) == 0
    assert not (place / "runs").exists()
    assert main(words) == 0
    assert "Next: heed sample runs/dpo-tiny" in capsys.readouterr().out
    run = place / "runs" / "dpo-tiny"
    for name in ("config.yaml", "environment.json", "data.json", "metrics.jsonl", "final"):
        assert (run / name).exists()
    assert main([*words, "lr=1"]) == 2
    assert "lr was 5e-05 and is now 1.0" in capsys.readouterr().err
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").exists()


def test_a_failing_data_file_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "bad.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": \n')
    assert main(["train", "dpo", "model=tiny", "data=bad.jsonl", *WORDS]) == 2
    said = capsys.readouterr().err
    assert "bad.jsonl" in said
    assert "2" in said
    assert not (place / "runs").exists()


def test_scores_of_several_scorers_and_the_list_of_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--list"]) == 0
    said = capsys.readouterr().out
    assert "cola_fluency:FOLDER" in said
    assert "textattack/roberta-base-CoLA" in said
    assert main(["score", "pairs.jsonl"]) == 2
    assert "heed score needs SCORER and DATA" in capsys.readouterr().err
    assert main(["score", "length", "parses", "pairs.jsonl"]) == 0
    first = json.loads((place / "scores.jsonl").read_text().splitlines()[0])
    assert first["responses"][0]["extra"] == {"length": 13, "parses": 0}


def test_responses_are_scored_on_the_device_that_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (place / "answers.jsonl").write_text('{"prompt": "Say", "completion": "so."}\n')
    words = ["score", "length", str(place / "answers.jsonl"), "--out", str(place / "out.jsonl")]
    assert main([*words, "--device", "cpu"]) == 0
    assert main([*words, "--device", "cuda"]) == 2
    assert "device=cuda: this machine has none" in capsys.readouterr().err
