"""`python -m benchmarks`: run every part by itself, write the result, put the table into the README."""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.machine import machine
from benchmarks.settings import CPU_TIME
from benchmarks.table import ALONE, REASONS, RESULTS, is_busy, newest, table, write_readme


def main() -> int:
    """Run the benchmark as the command line says."""
    arguments = _parse()
    # Leaving by an exception ends the part that runs; by default a SIGTERM would leave it behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    names = arguments.only.split(",") if arguments.only else list(parts.parts())
    facts = machine(parts.THREADS)
    if is_busy(facts):
        print(f"The machine is busy (load per core {facts['load_per_core']}): times will mean little.", flush=True)
    now = datetime.datetime.now(datetime.UTC)
    stamp = f"{now:%Y-%m-%d-%H%M}-{(facts['commit'] or 'unknown')[:7]}"
    result: dict[str, Any] = {"name": stamp, "date": f"{now:%Y-%m-%d}", "data": "", "machine": facts, "parts": {}}
    alone = bool(arguments.keep and arguments.only and not arguments.quick)
    if alone:
        result["name"] += ALONE
    failed = []
    with tempfile.TemporaryDirectory(prefix="heedful-bench-") as folder:
        for name in names:
            began = time.perf_counter()
            part = _run(name, Path(folder), arguments.quick)
            print(f"{name}: {'failed' if part is None else 'done'} in {time.perf_counter() - began:.0f} s", flush=True)
            if part is None:
                failed.append(name)
                continue
            result["parts"][name], result["data"] = part["result"], part["data"]
            if alone:
                _keep(result)
    print(table(result, json.loads(REASONS.read_text(encoding="utf-8"))))
    if not (arguments.quick or arguments.only or failed):
        _keep(result)
    elif not (alone or failed):
        print("Nothing was written: only a whole run is kept, or some parts by --keep.")
    return 1 if failed else 0


def _keep(result: dict[str, Any]) -> None:
    """Write the result, then the newest of all parts into the README."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if (shown := newest()) is not None:
        write_readme(shown)
    print(f"wrote benchmarks/results/{path.name} and the table in README.md", flush=True)


def _run(name: str, folder: Path, quick: bool) -> dict[str, Any] | None:
    """One part in a process of its own, in a folder of its own; None if it failed."""
    own = folder / name
    own.mkdir()
    command = [sys.executable, "-m", "benchmarks.parts", name, str(own), str(folder / "corpus")]
    done = subprocess.run([*command, *(["quick"] if quick else [])], env=parts.environment())
    return json.loads((own / "result.json").read_text(encoding="utf-8")) if done.returncode == 0 else None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="PART,PART", help=f"some of: {', '.join(parts.parts())}")
    parser.add_argument("--quick", action="store_true", help="one small round of everything: shows that it runs")
    parser.add_argument("--keep", action="store_true", help="keep the result of --only, beside the last whole run's")
    parser.epilog = f"On a busy machine {CPU_TIME}=1 counts processor time; results are kept of whole, full runs only."
    arguments = parser.parse_args()
    unknown = set((arguments.only or "").split(",")) - {"", *parts.parts()}
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts.parts())}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
