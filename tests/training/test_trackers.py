"""Live trackers for real: without a key, a network or a terminal, and over a run that fails and goes on."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import socket
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heedful.config import TrainConfig
from heedful.training.metrics import read_metrics
from heedful.training.trackers import check_tracker, make_tracker, run_id
from heedful.types import RunError, UserError
from tests.end_to_end.runs import environment, write_pairs
from tests.fakes import save_tiny_model

TRACKERS = ("tensorboard", "wandb", "trackio")
SHOWN = {"track_project": "proj", "track_name": "my run", "track_group": "grp", "track_tags": ["a", "b"]}
SETTINGS = {
    "objective": "dpo",
    "data": "pairs.jsonl",
    "model": "model",
    "steps": 4,
    "batch_size": 4,
    "checkpoint_every": 2,
    "eval_fraction": 0.25,
    "eval_every": 2,
    "eval_samples": 2,
    "threads": 1,
    "lr": 1e-3,
    **SHOWN,
}
FAIL_AND_CONTINUE = """
import json, sys
import heedful.training.loop as m
from heedful.config import TrainConfig
from heedful.training import train

settings, trackers = json.loads(sys.argv[1])
original = m.Loop.one_step

def failing(self, batch):
    if self.trainer.step == 3:
        raise RuntimeError("a fault of the machine")
    original(self, batch)

for tracker in trackers:
    config = TrainConfig(**settings, track=tracker, out=f"run-{tracker}")
    m.Loop.one_step = failing
    try:
        train(config)
    except RuntimeError as error:
        print(error)
    m.Loop.one_step = original
    train(config)
"""


def config(**changed: Any) -> TrainConfig:
    return TrainConfig(objective="dpo", model="m", data="d", out="run", **changed)  # type: ignore[arg-type]


# ---- before a run


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=rf"track={name} .* pip install 'heedful\[{name}\]'"):
        check_tracker(config(track=name))
    check_tracker(config())


def test_wandb_online_without_a_key_is_refused_instead_of_asking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match="WANDB_MODE=online needs a key"):
        check_tracker(config(track="wandb"))
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password " + "0" * 40 + "\n")
    check_tracker(config(track="wandb"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    with pytest.raises(UserError, match="needs a key"):
        check_tracker(config(track="wandb"))


def test_an_id_is_made_once_and_another_folder_has_another(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert run_id(tmp_path) == run_id(tmp_path) != run_id(tmp_path / "other")


def test_a_tracker_that_does_not_start_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where its folder would be")
    with pytest.raises(RunError, match=r"track=tensorboard did not start .* track=null"):
        make_tracker(config(track="tensorboard"), tmp_path, 0)


# ---- runs that fail after step 3, with a checkpoint of step 2, and are continued


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for every tracker, in a process with an empty home, a terminal to ask on, and a proxy nobody may use."""
    path = tmp_path_factory.mktemp("trackers")
    write_pairs(path / "pairs.jsonl")
    save_tiny_model(path / "model")
    kept = {k: v for k, v in environment(path).items() if not k.upper().startswith(("WANDB", "TRACKIO", "HF_HOME"))}
    (path / "home").mkdir()
    terminal, keyboard = pty.openpty()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxies = {name: url for low in ("http_proxy", "https_proxy", "all_proxy") for name in (low, low.upper())}
        done = subprocess.run(
            [sys.executable, "-c", FAIL_AND_CONTINUE, json.dumps([SETTINGS, TRACKERS])],
            env={**kept, **proxies, "HOME": str(path / "home"), "HF_HUB_OFFLINE": "0"},
            cwd=path,
            stdin=keyboard,
            capture_output=True,
            text=True,
            timeout=300,
        )
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    os.close(terminal)
    os.close(keyboard)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a fault of the machine") == len(TRACKERS)
    return path


def numbers(run: Path) -> dict[int, dict[str, float]]:
    """step → metrics, of the run's own file."""
    by_step: dict[int, dict[str, float]] = {}
    for row in read_metrics(run / "metrics.jsonl"):
        kept = {k: v for k, v in row.items() if k != "step" and v is not None}
        by_step.setdefault(row["step"], {}).update(kept)
    return by_step


@pytest.mark.slow
def test_tensorboard(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run-tensorboard" / "tensorboard"))
    events.Reload()
    shown: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in shown.setdefault(event.step, {}), "a step shown before the failure is shown once"
            shown[event.step][tag] = event.value
    ours = numbers(folder / "run-tensorboard")
    assert shown.keys() == ours.keys() == {0, 1, 2, 3, 4}
    for step, values in ours.items():
        assert shown[step] == pytest.approx(values, rel=1e-6), step
    texts = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
    about = texts["settings/text_summary"][0].tensor_proto.string_val[0].decode()
    for line in ('|project|"proj"|', '|name|"my run"|', '|group|"grp"|', '|tags|["a", "b"]|', "|steps|4|"):
        assert line in about
    assert [event.step for event in texts["samples/text_summary"]] == [0, 2, 4]
    assert b"Tell me about the" in texts["samples/text_summary"][0].tensor_proto.string_val[0]


@pytest.mark.slow
def test_wandb(folder: Path) -> None:
    run = folder / "run-wandb"
    sessions = sorted((run / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    assert len(sessions) == 2
    records = [list(wandb_records(path)) for path in sessions]
    begun = [next(r.run for r in session if r.HasField("run")) for session in records]
    assert {started.run_id for started in begun} == {run_id(run)}, "one run, not two"
    for started in begun:
        about = (started.project, started.display_name, started.run_group, list(started.tags))
        assert about == ("proj", "my run", "grp", ["a", "b"])
    assert any(r.metric.glob_name == "*" and r.metric.step_metric == "step" for r in records[0] if r.HasField("metric"))
    assert [r.exit.exit_code for session in records for r in session if r.HasField("exit")] == [1, 0]
    shown: dict[int, dict[str, Any]] = {}
    for row in (history(r) for session in records for r in session if r.HasField("history")):
        shown.setdefault(row["step"], {}).update(row)
    ours = numbers(run)
    assert shown.keys() == ours.keys()
    for step, values in ours.items():
        assert values.items() <= shown[step].items()
    tables = [json.loads(path.read_text()) for path in sorted((run / "wandb").rglob("*.table.json"))]
    assert tables
    for table in tables:
        assert table["columns"] == ["prompt", "answer", "finished"]
        assert len(table["data"]) == 2


@pytest.mark.slow
def test_trackio(folder: Path) -> None:
    (database,) = folder.rglob("proj.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select run_id, run_name, step, metrics from metrics").fetchall()
        (settings,) = connection.execute("select config from configs").fetchone()
    assert {row[0] for row in rows} == {run_id(folder / "run-trackio")}, "one run, not two"
    assert {row[1] for row in rows} == {"my run"}
    assert json.loads(settings)["_Group"] == "grp"
    assert json.loads(settings)["tags"] == ["a", "b"]
    shown: dict[int, dict[str, Any]] = {}
    for _, _, step, metrics in rows:
        shown.setdefault(step, {}).update(json.loads(metrics))
    ours = numbers(folder / "run-trackio")
    assert shown.keys() == ours.keys()
    for step, values in ours.items():
        assert values.items() <= shown[step].items()
    assert [len(shown[step]["samples"]["_value"]) for step in (0, 2, 4)] == [2, 2, 2]


def history(record: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(b"".join(parts))
            parts = []
