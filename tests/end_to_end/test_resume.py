"""Kill a run anywhere, start it again: it ends with the bits of a run that nobody killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.runs import assert_same_bits, environment, heed, run_words

pytestmark = pytest.mark.slow

DIE = """
import os, signal
def die_at(module, name, call, after=False):
    original, calls = getattr(module, name), [0]
    def counted(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls[0] == call and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, counted)
"""

MOMENTS = {
    "while a checkpoint's files are flushed": "import heedful.training.checkpoints as m; die_at(m, 'flush_tree', 2)",
    "while the model is written": "import heedful.training.assemble as m; die_at(m, 'save', 3)",
    "between renaming and pruning": "import heedful.training.loop as m; die_at(m, 'prune_checkpoints', 2)",
    "after pruning": "import heedful.training.loop as m; die_at(m, 'prune_checkpoints', 3, after=True)",
    "before the first checkpoint": "import heedful.training.checkpoints as m; die_at(m, 'flush_tree', 1)",
    "while final is written": "import heedful.training.assemble as m; die_at(m, 'flush_tree', 1)",
    "while the run folder is begun": "import heedful.training.run_folder as m; die_at(m, 'dump_yaml', 1)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with an unbroken run of KTO, which needs the most: statistics, a reference, an evaluation."""
    path = tmp_path_factory.mktemp("resume")
    done = heed(path, *run_words(path, "kto", "unbroken"))
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(folder: Path, moment: str):
    out = "killed-" + moment.replace(" ", "-").replace("'", "")
    words = run_words(folder, "kto", out)
    killed = heed(folder, *words, before=DIE + MOMENTS[moment])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / out / "final").exists()
    resumed = heed(folder, *words)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_bits(folder / "unbroken", folder / out)
    assert not list((folder / out / "checkpoints").glob(".*"))


def test_killed_at_random_moments(folder: Path):
    """Real kills from outside, again and again until the run gets through."""
    rng = random.Random(0)
    words = run_words(folder, "kto", "random")
    code = f"import sys; from heedful.cli import main; sys.exit(main({words!r}))"
    kills = 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment(folder), cwd=folder, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        wanted = rng.randint(1, 4) if kills < 4 else 10**9
        for line in process.stdout:
            if line.startswith("step") and "loss" in line:
                wanted -= 1
            if wanted <= 0:
                time.sleep(rng.random() * 0.05)
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        if process.wait() == 0:
            break
        kills += 1
    assert kills >= 1
    assert_same_bits(folder / "unbroken", folder / "random")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_continues(folder: Path, signum: int, status: int):
    out = f"signal-{status}"
    words = run_words(folder, "kto", out)
    send = f"""
import os
import heedful.training.loop as m
original = m.Loop.one_step
def step(self, batch):
    original(self, batch)
    if self.trainer.step == 5:
        os.kill(os.getpid(), {int(signum)})
m.Loop.one_step = step
"""
    stopped = heed(folder, *words, before=send)
    assert stopped.returncode == status
    assert "saved" in stopped.stderr
    assert "step-5" in stopped.stderr
    assert (folder / out / "checkpoints" / "step-5").is_dir()
    assert heed(folder, *words).returncode == 0
    assert_same_metrics_and_weights(folder / "unbroken", folder / out)


def assert_same_metrics_and_weights(one: Path, other: Path) -> None:
    assert_same_bits(one, other)


def test_a_finished_run_is_left_alone(folder: Path):
    before = {p: p.stat().st_mtime_ns for p in (folder / "unbroken").rglob("*") if p.is_file()}
    again = heed(folder, *run_words(folder, "kto", "unbroken"))
    assert again.returncode == 0
    assert "finished" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "unbroken").rglob("*") if p.is_file()}


def test_other_settings_are_refused_on_resume(folder: Path):
    refused = heed(folder, *run_words(folder, "kto", "unbroken", lr=2e-3))
    assert refused.returncode == 2
    assert "lr was 0.001 and is now 0.002" in refused.stderr


def test_changed_data_is_refused_on_resume(folder: Path):
    words = run_words(folder, "sft", "changed")
    killed = heed(folder, *words, before=DIE + "import heedful.training.loop as m; die_at(m, 'prune_checkpoints', 2)")
    assert killed.returncode == -signal.SIGKILL
    data = folder / "pairs.jsonl"
    original = data.read_text()
    try:
        rows = original.splitlines()
        row = json.loads(rows[0])
        row["chosen"][0]["content"] = "Something else altogether."
        data.write_text("\n".join([json.dumps(row), *rows[1:]]) + "\n")
        refused = heed(folder, *words)
    finally:
        data.write_text(original)
    assert refused.returncode == 2
    assert "data (or the tokenizer) changed" in refused.stderr
    assert os.path.exists(folder / "changed" / "checkpoints")


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(folder: Path):
    words = run_words(folder, "sft", "full")
    full = """
import heedful.training.checkpoints as m
original, calls = m.save_file, [0]
def no_room(tensors, path):
    calls[0] += 1
    if calls[0] == 2:
        raise OSError(28, "No space left on device")
    original(tensors, path)
m.save_file = no_room
"""
    failed = heed(folder, *words, before=full)
    assert failed.returncode == 1
    assert "No space left" in failed.stderr
    assert "step-2" in failed.stderr
    assert [p.name for p in (folder / "full" / "checkpoints").iterdir()] == ["step-2"]
    assert heed(folder, *words).returncode == 0
