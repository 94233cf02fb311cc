"""Budgets: the estimate against a measured run, the limits that a machine sets, and running into one for real."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from heedful.training import budget
from heedful.training.budget import bytes_per_token, choose_tokens_per_pack, free_memory_bytes, out_of_memory
from tests.end_to_end.runs import environment, run_words
from tests.fakes import save_tiny_model, tiny_config

CPU = torch.device("cpu")
PLAIN_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""Give every tensor back at once, so that what is in use is what is needed."""


# ---- the estimate


def test_bytes_per_token_by_hand() -> None:
    """Width 8, feed-forward 16, 3 layers: a layer keeps 10·8 + 4·16 = 144 numbers, the ends 14·8 = 112."""
    shape = SimpleNamespace(hidden_size=8, intermediate_size=16, num_hidden_layers=3)
    assert bytes_per_token(shape, False) == 4 * (3 * 144 + 112)
    assert bytes_per_token(shape, True) == 4 * (3 * 8 + 144 + 112)


def test_gpt2s_names_for_its_shape_are_understood() -> None:
    """No feed-forward width in its config: four times the model's."""
    wide = tiny_config("gpt2", n_embd=64, n_layer=4)
    assert bytes_per_token(wide, False) == 4 * (4 * (10 * 64 + 4 * 256) + 14 * 64)


MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from heedful.models import load_policy, to_tensors
from heedful.tokens.packs import build_pack
from heedful.training.budget import bytes_per_token
from tests.training.helpers import random_store

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024

def measured(model, store):
    peaks = []
    for num in (10, 80):
        pack = to_tensors(build_pack(store, np.arange(num)), "cpu")
        for _ in range(2):
            model.zero_grad(set_to_none=False)
            Path("/proc/self/clear_refs").write_text("5")
            before = status("VmRSS")
            model(pack, frozenset({"logps"}))["logps"].sum().backward()
            peak = status("VmHWM") - before
        peaks.append((pack.ids.numel(), peak))
    (few, low), (many, high) = peaks
    return (high - low) / (many - few)

torch.set_num_threads(1)
store = random_store(Path(sys.argv[1]) / "store", 80)
found = {}
for checkpointing in (False, True):
    loaded = load_policy(sys.argv[1] + "/model", gradient_checkpointing=checkpointing)
    found[str(checkpointing)] = bytes_per_token(loaded.config, checkpointing) / measured(loaded.model, store)
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory that can be reset")
def test_the_estimate_is_within_a_factor_of_two_of_a_measured_run(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model", hidden_size=256, intermediate_size=688, num_hidden_layers=4)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        env={**environment(tmp_path), **PLAIN_MALLOC, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for checkpointing, ratio in json.loads(done.stdout).items():
        assert 0.5 < ratio < 2.0, f"gradient_checkpointing={checkpointing}"


# ---- the choice


def test_the_budget_is_what_half_of_the_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SimpleNamespace(hidden_size=8, intermediate_size=16, num_hidden_layers=3)  # 2,176 bytes a token
    monkeypatch.setattr(budget, "free_memory_bytes", lambda device: 16 * 1000 + 2 * 2176 * 1000)

    def chosen(longest: int, world: int = 1) -> int:
        return choose_tokens_per_pack(longest, 1000, shape, CPU, world, checkpointing=False)

    assert chosen(10) == 1000 // 128 * 128
    assert chosen(1500) == 1500, "the longest example must fit, whatever the memory"
    assert chosen(10, world=2) == 384, "two processes share it: (2,184,000 - 16,000) / 2 / 2,176 = 498 tokens"
    monkeypatch.setattr(budget, "free_memory_bytes", lambda device: 2**50)
    assert chosen(10) == budget.CPU_TOKENS


def test_a_process_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    used = budget.psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda what: (used + 50 * 2**20, resource.RLIM_INFINITY))
    assert 0 < free_memory_bytes(CPU) <= 60 * 2**20
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1, 1))
    assert free_memory_bytes(CPU) == 0


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert budget._below_container_limit(tmp_path) is None
    files = {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 500\ninactive_file 150\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert budget._below_container_limit(tmp_path) == 1000 - 700 + 150
    (tmp_path / "memory.max").write_text("max\n")
    assert budget._below_container_limit(tmp_path) is None


# ---- running out


def test_only_errors_that_mean_memory_are_explained() -> None:
    assert out_of_memory(RuntimeError("shapes do not match"), 100, 10) is None
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried …"),
    ):
        assert "tokens_per_pack=50" in str(out_of_memory(error, 100, 10))


def test_the_advice_never_cuts_an_example() -> None:
    assert "tokens_per_pack=80 " in str(out_of_memory(MemoryError(), 100, 80))
    alone = str(out_of_memory(MemoryError(), 100, 100))
    assert "tokens_per_pack" not in alone
    assert "gradient_checkpointing=true" in alone
    assert "max_length=50" in alone


LITTLE_ROOM = """
import contextlib, io, json, re, resource, sys
from pathlib import Path
import heedful.training.loop as m
from heedful.cli import main

original, free = m.Loop.one_step, resource.RLIM_INFINITY

def one_step(self, batch):
    if self.trainer.step == 1:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 75 * 2**20, free))
    try:
        original(self, batch)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (free, free))

m.Loop.one_step = one_step
words = json.loads(sys.argv[1])
with contextlib.redirect_stderr(io.StringIO()) as said:
    status = main([*words, "out=short"])
advised = re.findall("set (tokens_per_pack=[0-9]+)", said.getvalue())
print(json.dumps([status, said.getvalue(), main([*words, *advised, "out=fits"])]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_run_without_memory_ends_in_a_sentence_whose_advice_holds(tmp_path: Path) -> None:
    """1,700 tokens of about 60 KiB in one pack, and in the second step room for 75 MiB."""
    save_tiny_model(tmp_path / "model", hidden_size=128, intermediate_size=512, num_hidden_layers=4)
    settings = {"batch_size": 16, "steps": 2, "checkpoint_every": 1, "tokens_per_pack": 4096, "eval_every": 2}
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_ROOM, json.dumps(run_words(tmp_path, "sft", "short", **settings))],
        env={**environment(tmp_path), **PLAIN_MALLOC},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    status, said, advised_status = json.loads(done.stdout.splitlines()[-1])
    assert status == 1
    sentence = said.strip().splitlines()[-1]
    assert sentence.startswith("heed: Out of memory: set tokens_per_pack=")
    assert sentence.endswith("The last checkpoint is short/checkpoints/step-1.")
    assert "Traceback" not in said
    assert advised_status == 0, done.stderr
