"""Two processes against one: DDP and FSDP2 on the CPU give the single process's losses and weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from heedful.training.metrics import read_metrics
from tests.end_to_end.runs import environment, run_words

pytestmark = [pytest.mark.slow, pytest.mark.processes]

RUNS: dict[str, tuple[str, dict[str, str]]] = {
    "sft": ("sft", {}),
    "dpo": ("dpo", {"wpo": "true", "nll_weight": "0.5", "humanline": "[-1,1.5]"}),
    "kto": ("kto", {}),
    "bco": ("bco", {}),
    "reward": ("reward", {}),
    "ppo": ("ppo_offline", {}),
    "coupled": ("mine.py:coupled", {}),
    "held": ("mine.py:held", {"sync_reference_every": "1"}),
    "adapted": ("mine.py:held", {"sync_reference_every": "2", "lora.r": "4"}),
    "started": ("mine.py:held", {"lora.r": "4"}),
}
"""Name of the run: objective and settings."""
MINE = """
from heedful.objectives.reduce import Term, whole_step
from heedful.objectives.views import Pairs, Tokens

def held(tokens: Tokens):
    return {"loss": Term(-tokens.logps), "kl": Term(tokens.kl)}

@whole_step
def coupled(pairs: Pairs, *, beta: float = 0.1):
    margin = beta * pairs.margin
    return (margin - margin.mean() - 1.0) ** 2, {"margins": margin}
"""
WORKER = """
import json, sys
from heedful.cli import main
for words in json.loads(sys.argv[1]):
    status = main(words)
    if status:
        sys.exit(status)
"""


def launch(folder: Path, processes: int, runs: list[list[str]], before: str = "") -> subprocess.CompletedProcess[str]:
    worker = folder / "worker.py"
    worker.write_text(before + WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return subprocess.run(
        [sys.executable, *launcher, str(worker), json.dumps(runs)],
        env=environment(folder) | {"OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
    )


def words(folder: Path, name: str, engine: str, **settings) -> list[str]:
    """Three steps; packs so small that a rank has several, and sometimes a filler."""
    objective, own = RUNS[name]
    settings = {"eval_every": 3, "steps": 3, "checkpoint_every": 2, "tokens_per_pack": 200, **own, **settings}
    out = settings.pop("out", f"{name}-{engine}")
    return run_words(folder, objective, out, engine=engine, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("processes")
    (path / "mine.py").write_text(MINE)
    alone = launch(path, 1, [words(path, name, "single") for name in RUNS])
    assert alone.returncode == 0, alone.stderr
    two = launch(path, 2, [words(path, name, engine) for engine in ("ddp", "fsdp2") for name in RUNS])
    assert two.returncode == 0, two.stderr[-3000:]
    return path


@pytest.mark.parametrize("engine", ["ddp", "fsdp2"])
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one(folder: Path, name: str, engine: str):
    one = read_metrics(folder / f"{name}-single" / "metrics.jsonl")
    two = read_metrics(folder / f"{name}-{engine}" / "metrics.jsonl")
    assert len(one) == len(two) == 5  # an evaluation before, three steps, one after
    # While policy and reference agree, who of a pair is ahead is decided by the last bit.
    same = ("time_s", "tokens_per_s", "peak_memory_bytes", "packs", "fill")
    same += ("train/rewards/accuracies", "eval/rewards/accuracies")
    for row, twin in zip(one, two, strict=True):
        row, twin = ({k: v for k, v in r.items() if k not in same} for r in (row, twin))
        assert row == pytest.approx(twin, rel=2e-4, abs=2e-5)
    weights, others = (tensors(folder / f"{name}-{kind}") for kind in ("single", engine))
    assert weights.keys() == others.keys()
    for parameter, weight in weights.items():
        assert others[parameter] == pytest.approx(weight, rel=1e-3, abs=2e-4), parameter


def tensors(run: Path) -> dict[str, Any]:
    """All that the run left: weights, a value head."""
    files = sorted((run / "final").glob("*.safetensors"))
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


RESUMED = [(name, engine) for engine in ("ddp", "fsdp2") for name in ("kto", "ppo", "held", "adapted")]


@pytest.fixture(scope="module")
def resumed(folder: Path) -> None:
    """Every run of two processes as it was after the checkpoint of step 2, gone on with."""
    for name, engine in RESUMED:
        broken = folder / f"broken-{name}-{engine}"
        shutil.copytree(folder / f"{name}-{engine}", broken)
        shutil.rmtree(broken / "final")
        shutil.rmtree(broken / "checkpoints" / "step-3")
    done = launch(folder, 2, [words(folder, name, engine, out=f"broken-{name}-{engine}") for name, engine in RESUMED])
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.usefixtures("resumed")
@pytest.mark.parametrize(("name", "engine"), RESUMED)
def test_resumed_with_two_processes(folder: Path, name: str, engine: str):
    """It ends where the unbroken run of two ended, bit for bit."""
    one, two = tensors(folder / f"{name}-{engine}"), tensors(folder / f"broken-{name}-{engine}")
    assert all((one[parameter] == two[parameter]).all() for parameter in one)


def test_a_wrong_number_of_processes_is_refused(folder: Path):
    refused = launch(folder, 2, [words(folder, "sft", "ddp", world_size=3, out="three")])
    assert refused.returncode != 0
    assert "This run is for 3 processes but 2 were started" in refused.stderr
    alone = launch(folder, 1, [words(folder, "sft", "auto", world_size=2, out="two")])
    assert alone.returncode == 2
    assert "This run is for 2 processes but 1 was started" in alone.stderr


def test_a_rank_that_dies_ends_the_run(folder: Path):
    die = """
import os
import heedful.training.loop as m
original = m.Loop.one_step
def step(self, batch):
    if self.world.rank == 1 and self.trainer.step == 1:
        os._exit(17)
    original(self, batch)
m.Loop.one_step = step
"""
    ended = launch(folder, 2, [words(folder, "dpo", "ddp", out="dying")], before=die)
    assert ended.returncode != 0
    assert "exitcode  : 17" in ended.stderr or "exitcode: 17" in ended.stderr
    assert not (folder / "dying" / "final").exists()


def test_a_non_finite_loss_on_one_rank_skips_the_step_on_all(folder: Path):
    spoil = """
import torch
import heedful.training.step as m
original = m.StepRunner.__call__
calls = [0]
def call(self, step, *args, **kwargs):
    calls[0] += kwargs.get("train", True)
    if kwargs.get("train", True) and calls[0] == 2 and self.world.rank == 1:
        for pack in step.packs:
            pack.tokens["ref_logps"][:1] = float("nan")
    return original(self, step, *args, **kwargs)
m.StepRunner.__call__ = call
"""
    done = launch(folder, 2, [words(folder, "dpo", "ddp", out="nan")], before=spoil)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [row for row in read_metrics(folder / "nan" / "metrics.jsonl") if "loss" in row]
    assert [row.get("skipped", False) for row in rows] == [False, True, False]
    bad = [json.loads(line) for line in (folder / "nan" / "bad_steps.jsonl").read_text().splitlines()]
    assert bad[0]["step"] == 2
    assert len(bad[0]["rows"]) == 4
    assert os.path.exists(folder / "nan" / "final")
