"""What a run may put in the place of what: it deletes a run when told to, and never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heedful.config import TrainConfig
from heedful.training.run_folder import begin_run, inspect_run
from heedful.types import UserError


def config(out: Path | str, **settings: Any) -> TrainConfig:
    return TrainConfig(**{"objective": {"name": "dpo"}, "model": "m", "data": "d.jsonl", "out": str(out), **settings})


def a_run(path: Path) -> Path:
    begin_run(path, config(path), {}, {})
    return path


@pytest.mark.parametrize("names", [("thesis.txt",), ("config.yaml", "thesis.txt")])
def test_overwrite_deletes_runs_alone(names: tuple[str, ...], tmp_path: Path) -> None:
    """A folder of something else, even one with a config.yaml, is never deleted."""
    for name in names:
        (tmp_path / name).write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not empty and holds no run; name another folder"):
            inspect_run(config(tmp_path, overwrite=overwrite))


def test_overwrite_deletes_a_run(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text("old")
    assert inspect_run(config(run, overwrite=True)).status == "new"
    a_run(run)
    assert not (run / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model", "RUN"),
        ("model", "RUN/final"),
        ("reference", "RUN/checkpoints/step-2"),
        ("data", "RUN/rows.jsonl"),
        ("data", "hh-raw:0.5:RUN/rows.jsonl#train"),
        ("eval_data", ["other.jsonl", "RUN/rows.jsonl"]),
        ("readers", ["RUN/mine.py:read"]),
    ],
)
def test_overwrite_never_deletes_what_the_new_run_needs(setting: str, value: Any, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    for name in ("final", "checkpoints/step-2"):
        (run / name).mkdir(parents=True)
    for name in ("rows.jsonl", "mine.py"):
        (run / name).write_text("")
    named = (
        [text.replace("RUN", str(run)) for text in value] if isinstance(value, list) else value.replace("RUN", str(run))
    )
    with pytest.raises(UserError, match=r"overwrite=true would delete .*move it elsewhere"):
        inspect_run(config(run, overwrite=True, **{setting: named}))


def test_names_are_not_taken_for_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in a folder called like its objective or template."""
    monkeypatch.chdir(tmp_path)
    for name in ("dpo", "hh"):
        a_run(tmp_path / name)
        assert inspect_run(config(name, overwrite=True, template="hh")).status == "new"


def test_a_run_does_not_take_the_place_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "..", str(tmp_path / "here")):
        with pytest.raises(UserError, match=r"is the folder you are in, or holds it|is not empty"):
            inspect_run(config(out))


def test_a_run_is_not_written_into_its_data(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    with pytest.raises(UserError, match="the run would be read as data"):
        inspect_run(config(tmp_path / "texts" / "run", data=str(tmp_path / "texts")))


def test_a_link_leads_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    run = a_run(tmp_path / "link")
    assert run.is_symlink()
    assert (tmp_path / "disk" / "config.yaml").exists()
