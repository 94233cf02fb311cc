"""Making small data and models, running `heed` in a process of its own, and comparing runs bit by bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from heedful.training.metrics import lasting, read_metrics
from tests.fakes import save_tiny_model

NOUNS = ("cat", "dog", "egg", "house", "river", "song", "number", "garden")


def write_pairs(path: Path, num: int = 24) -> Path:
    """Conversational preference pairs in TRL's implicit-prompt columns."""
    with path.open("w") as file:
        for i in range(num):
            noun, other = NOUNS[i % len(NOUNS)], NOUNS[(i * 3 + 1) % len(NOUNS)]
            prompt = [{"role": "user", "content": f"Tell me about the {noun}, please. It is number {i}."}]
            good = f"The {noun} is fine and has {i} friends." + " Indeed." * (i % 4)
            bad = f"No {other}." * (1 + i % 3)
            row = {
                "prompt": prompt,
                "chosen": [{"role": "assistant", "content": good}],
                "rejected": [{"role": "assistant", "content": bad}],
            }
            file.write(json.dumps(row) + "\n")
    return path


def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with an own home, one thread, and no network for model hubs."""
    return {
        **{k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")},
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def heed(tmp_path: Path, *words: str, before: str = "", timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `heed` with these words; `before` is Python that runs in the same process first."""
    code = f"import sys\n{before}\nfrom heedful.cli import main\nsys.exit(main({list(words)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=tmp_path,
    )


def run_words(tmp_path: Path, objective: str, out: str, **settings: Any) -> list[str]:
    """The words of `heed train` on the small model and data, which are made if they are not there."""
    data, model = tmp_path / "pairs.jsonl", tmp_path / "model"
    if not data.exists():
        write_pairs(data)
    if not model.exists():
        save_tiny_model(model)
    chosen = {"batch_size": 4, "steps": 9, "checkpoint_every": 2, "lr": 1e-3, "threads": 1, "max_length": 128}
    chosen |= {"eval_fraction": 0.25, "eval_every": 3, "tokens_per_pack": 200, **settings}
    settings = {"model": model, "data": data, "out": out, **chosen}
    return ["train", objective, *(f"{key}={value}" for key, value in settings.items())]


def bits(run: Path) -> dict[str, Any]:
    """Everything of a finished run that must be the same in an equal one: weights, optimizer, metrics."""
    last = max((run / "checkpoints").glob("step-*"), key=lambda p: int(p.name.split("-")[1]))
    content: dict[str, Any] = {"last": last.name}
    for file in (*(run / "final").glob("*.safetensors"), *last.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            content[f"{file.parent.name}/{file.name}/{name}"] = tensor.tobytes()
    rows = [lasting(row) for row in read_metrics(run / "metrics.jsonl")]
    return content | {"metrics": rows}


def assert_same_bits(one: Path, other: Path) -> None:
    """Two runs ended with the same bits; says in what they differ."""
    a, b = bits(one), bits(other)
    assert a.keys() == b.keys()
    for row, twin in zip(a["metrics"], b["metrics"], strict=True):
        assert row == twin
    assert [name for name in a if a[name] != b[name]] == []
