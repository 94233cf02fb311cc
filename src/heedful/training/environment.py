"""`environment.json`: what ran where.  Versions, the commit and the hardware; never environment variables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from typing import Any

import psutil
import torch

import heedful

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "datasets", "safetensors", "numpy", "pydantic")


def environment(threads: int) -> dict[str, Any]:
    """Versions, git commit, processor, memory and accelerators of this process."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "heedful": heedful.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "packages": versions,
        "git": _git(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git() -> dict[str, Any] | None:
    """Commit of the working folder and whether it has uncommitted changes; None outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
