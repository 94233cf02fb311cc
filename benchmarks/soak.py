"""`make soak`: kill a training run at random moments until the time is up; every run must end with the same bits.

A small run of KTO, which has the most to restore (a reference, statistics of mismatched answers, an evaluation), is
done once unbroken.  Then it is begun again and again; each time SIGKILL, SIGTERM or SIGINT comes at random moments and
the same command goes on, until it finishes; weights, optimizer state and metrics must be those of the unbroken one.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import machine
from heedful.training.metrics import lasting, read_metrics

RESULT = Path(__file__).parent / "results" / "soak.json"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
"""SIGKILL mostly: it leaves no time to save."""


def main() -> int:
    """Soak for as long as the command line says, and write what was seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long [default: 10]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    rng, began = random.Random(arguments.seed), time.perf_counter()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="heedful-soak-") as name:
        folder = Path(name)
        make_inputs(folder)
        wanted, whole_s = unbroken(folder, command)
        while time.perf_counter() - began < 60 * arguments.minutes:
            counts += broken(folder, rng, whole_s, command)
            counts["runs"] += 1
            if bits(folder / "broken") != wanted:
                shutil.copytree(folder, kept := Path(tempfile.mkdtemp(prefix="heedful-soak-kept-")), dirs_exist_ok=True)
                print(f"Run {counts['runs']} ended with other bits than the unbroken one; both are in {kept}.")
                return 1
            print(", ".join(f"{key} {value}" for key, value in sorted(counts.items())), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    facts = {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(1)}
    result = {**facts, "minutes": arguments.minutes, "seed": arguments.seed, "counts": counts, "different_bits": 0}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def make_inputs(folder: Path) -> None:
    """Forty preference pairs and a small untrained model."""
    from heedful.models import new_model

    rows = [
        {
            "prompt": [{"role": "user", "content": f"Tell me about house number {i}, please."}],
            "chosen": [{"role": "assistant", "content": f"House {i} is fine." + " Indeed." * (i % 4)}],
            "rejected": [{"role": "assistant", "content": "No idea." * (1 + i % 3)}],
        }
        for i in range(40)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    new_model(folder / "model", [json.dumps(row) for row in rows], vocab_size=300, hidden_size=32, layers=2, heads=2)


def command(out: str) -> list[str]:
    """One run, in a process of its own."""
    settings = ["data=pairs.jsonl", "model=model", f"out={out}", "batch_size=4", "steps=60", "lr=1e-3", "threads=1"]
    settings += ["eval_fraction=0.25", "eval_every=6", "checkpoint_every=5", "max_length=128", "cache_dir=cache"]
    return [sys.executable, "-m", "heedful", "train", "kto", *settings]


Command = Callable[[str], list[str]]
"""From the run folder's name to the command line."""


def unbroken(folder: Path, command: Command) -> tuple[dict[str, str], float]:
    """The bits of a run that nobody stopped, and its seconds."""
    began = time.perf_counter()
    subprocess.run(command("unbroken"), cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return bits(folder / "unbroken"), time.perf_counter() - began


def broken(folder: Path, rng: random.Random, whole_s: float, command: Command) -> Counter[str]:
    """One run from nothing to its end, stopped up to six times on the way; counts the signals that took effect."""
    shutil.rmtree(folder / "broken", ignore_errors=True)
    counts: Counter[str] = Counter()
    stops = rng.randint(1, 6)
    while True:
        process = subprocess.Popen(
            command("broken"), cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        sent = None
        if stops:
            stops -= 1
            time.sleep(rng.random() * whole_s)
            sent = rng.choice(SIGNALS)
            process.send_signal(sent)
        status = process.wait()
        if sent is not None and status in (-sent, 128 + sent):  # before Python can handle it, and after
            counts[sent.name] += 1
        elif status != 0:
            raise SystemExit(f"the run ended with status {status}, which no signal explains")
        elif (folder / "broken" / "final").is_dir():
            return counts


def environment() -> dict[str, str]:
    """One thread, no model hub."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def bits(run: Path) -> dict[str, str]:
    """A digest of everything that must be the same: weights, optimizer state, metrics without times and memory."""
    files = sorted([*(run / "final").glob("*.safetensors"), *run.glob("checkpoints/step-*/*.safetensors")])
    found = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    rows = [lasting(row) for row in read_metrics(run / "metrics.jsonl")]
    return found | {"metrics": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


if __name__ == "__main__":
    sys.exit(main())
