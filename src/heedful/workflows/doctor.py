"""What this machine has, as lines a person can send with a question."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from heedful.types import UserError

EXTRAS = {
    **{name: name for name in ("wandb", "trackio", "tensorboard", "scrubadub", "detoxify", "ray")},
    "bench": "trl",
    "pii": "presidio_analyzer",
    "keras": "h5py",
    "postgres": "psycopg",
    "argilla": "argilla",
}
"""Extra of ours → the module that shows it is installed."""

LIBRARIES = ("torch", "transformers", "peft", "datasets", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Fact:
    """One line of the report; `mend` says what to do where something is wrong."""

    name: str
    value: str
    mend: str | None = None


def examine(cache_dir: str | None = None) -> list[Fact]:
    """Python, libraries, devices, memory, threads, extras and the cache folder of this machine.  No network."""
    return [_python(), *_libraries(), _devices(), _memory(), _threads(), *_extras(), _cache(cache_dir)]


def _python() -> Fact:
    mend = None if sys.version_info >= (3, 11) else "Heedful needs Python 3.11 or newer"
    return Fact("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", mend)


def _libraries() -> list[Fact]:
    facts = []
    for name in LIBRARIES:
        try:
            facts.append(Fact(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            facts.append(Fact(name, "missing", f"install it: pip install {name}"))
    return facts


def _devices() -> Fact:
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            found.append(f"cuda:{i} {card.name} {card.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("mps")
    return Fact("devices", ", ".join(found))


def _memory() -> Fact:
    import psutil

    memory = psutil.virtual_memory()
    mend = "under 2 GiB are free: close something, or use a smaller model" if memory.available < 2 * 2**30 else None
    return Fact("memory", f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free", mend)


def _threads() -> Fact:
    import torch

    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Fact("threads", f"{torch.get_num_threads()} of {affinity} cores this process may use")


def _extras() -> list[Fact]:
    facts = []
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        facts.append(
            Fact(f"extra {extra}", "installed" if there else f"not installed (pip install 'heedful[{extra}]')")
        )
    return facts


def _cache(cache_dir: str | None) -> Fact:
    from heedful.training.context import cache_folder

    try:
        return Fact("cache", f"{cache_folder(cache_dir)}, writable")
    except UserError as problem:
        return Fact("cache", "not writable", str(problem))
