"""Checkpoints are whole or not there; the last good one survives whatever happens to the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from heedful.training.checkpoints import (
    TrainerState,
    checkpoint_steps,
    latest_checkpoint,
    load_trainer,
    prune_checkpoints,
    remove_partial,
    save_checkpoint,
)
from heedful.types import RunError

OPTIMIZERS = {"policy": ({"w/exp_avg": torch.arange(4.0)}, {"w/step": 3})}


def save(run: Path, step: int, write=lambda path: (path / "model.safetensors").write_bytes(b"x")) -> Path:
    return save_checkpoint(run, TrainerState(step=step, tokens=10 * step), OPTIMIZERS, {"m": torch.ones(2)}, write)


def test_round_trip(tmp_path):
    path = save(tmp_path, 5)
    trainer, optimizers, running = load_trainer(path)
    assert (trainer.step, trainer.tokens) == (5, 50)
    assert torch.equal(optimizers["policy"]["w/exp_avg"], torch.arange(4.0))
    assert trainer.optimizers == {"policy": {"w/step": 3}}
    assert torch.equal(running["m"], torch.ones(2))
    assert (path / "model.safetensors").exists()


def test_a_full_disk_leaves_the_last_good_one(tmp_path):
    save(tmp_path, 5)

    def full(path: Path) -> None:
        (path / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"step-10 could not be written .*No space left.*last good one is .*step-5"):
        save(tmp_path, 10, full)
    assert checkpoint_steps(tmp_path) == [5]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-5"]


def test_a_half_written_folder_is_no_checkpoint(tmp_path):
    save(tmp_path, 5)
    partial = tmp_path / "checkpoints" / ".step-10.partial"
    partial.mkdir()
    (partial / "trainer.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-7").mkdir()  # without its trainer.json
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-5"
    remove_partial(tmp_path)
    assert not partial.exists()


def test_the_newest_and_the_best_are_kept(tmp_path):
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step)
    prune_checkpoints(tmp_path, keep=2, best=2)
    assert checkpoint_steps(tmp_path) == [2, 4, 5]


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 5)
    path = save(tmp_path, 5, lambda p: (p / "model.safetensors").write_bytes(b"again"))
    assert (path / "model.safetensors").read_bytes() == b"again"
    assert json.loads((path / "trainer.json").read_text())["step"] == 5
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-5"]
