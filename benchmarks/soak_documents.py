"""`python -m benchmarks.soak_documents`: the six objectives on Python's standard library, killed and gone on with.

Each recipe of phf/pep8-stdlib is run once unbroken and once stopped at random moments by SIGKILL, SIGTERM and SIGINT;
the two must end with the same bits.  Writes results/soak-documents.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.soak import bits, broken, environment, unbroken

RESULT = Path(__file__).parent / "results" / "soak-documents.json"
OBJECTIVES = ("mle", "filtering", "conditional", "unlikelihood", "awr", "rwr")
SIZE = ("--vocab-size", "1024", "--hidden-size", "64", "--layers", "2", "--max-length", "512")


def main() -> int:
    """Run all six, and write what was seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_documents", description=__doc__)
    parser.add_argument("--steps", type=int, default=24, help="of each run [default: 24]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where inputs are, or are made, that are kept [default: none are]")
    arguments = parser.parse_args()
    rng, counts = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="heedful-soak-") as name:
        folder = arguments.folder or Path(name)
        if not (folder / "model").is_dir():
            folder.mkdir(exist_ok=True)
            make_inputs(folder)
        for objective in OBJECTIVES:
            line = partial(command, objective, arguments.steps)
            anew = partial(line, overwrite=True)
            unbroken(folder, anew)  # what is cached then makes both the others as long
            wanted, whole_s = unbroken(folder, anew)
            stopped = Counter[str]()
            while not stopped:  # a run may end before its signal comes
                stopped = broken(folder, rng, whole_s, line)
            if bits(folder / "broken") != wanted:
                print(f"{objective} ended with other bits than unbroken.")
                return 1
            counts += stopped
            print(f"{objective}: {dict(stopped)}, the same bits ({whole_s:.0f} s unbroken)", flush=True)
    facts = {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(1)}
    result = {**facts, "objectives": OBJECTIVES, "steps": arguments.steps, "counts": counts, "different_bits": 0}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def make_inputs(folder: Path) -> None:
    """The scored functions of the standard library, and a small new model."""
    functions = "functions/train.jsonl.gz"
    for words in (
        ("data", "prepare", "python_functions", "out=functions"),
        ("score", "pep8", f"data={functions}", "out=scored"),
        ("model", "new", "model", functions, *SIZE),
    ):
        line = [sys.executable, "-m", "heedful", *words]
        subprocess.run(line, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)


def command(objective: str, steps: int, out: str, *, overwrite: bool = False) -> list[str]:
    """One run by its recipe, in a process of its own."""
    settings = ["data=scored", "model=model", f"out={out}", f"steps={steps}", "checkpoint_every=6", "threads=1"]
    settings += ["batch_size=2048", "watch=null", "cache_dir=cache", *(["overwrite=true"] if overwrite else [])]
    return [sys.executable, "-m", "heedful", "train", objective, f"phf/pep8-stdlib/{objective}", *settings]


if __name__ == "__main__":
    sys.exit(main())
