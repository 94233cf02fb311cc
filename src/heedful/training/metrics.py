"""`metrics.jsonl`: one JSON object a line, every step; cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from heedful.examples.io import replacing

VOLATILE = ("time_s", "tokens_per_s", "samples_per_s", "peak_memory_bytes")
"""Metrics, by the last part of their names, that two equal runs may differ in."""


class MetricsFile:
    """Appends lines, each flushed, so that a kill loses at most the line being written."""

    def __init__(self, path: Path, resume_step: int | None) -> None:
        """Open for appending.

        resume_step: lines of later steps are cut off first; None starts an empty file.
        """
        self.path = path
        kept = [] if resume_step is None else [row for row in read_metrics(path) if row["step"] <= resume_step]
        with replacing(path) as aside:
            aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    @contextmanager
    def appending(path: Path) -> Iterator[MetricsFile]:
        """A file of rows to which some are added, whatever it holds."""
        file = MetricsFile(path, resume_step=sys.maxsize)
        try:
            yield file
        finally:
            file.close()

    def write(self, row: dict[str, Any]) -> None:
        """Append one line.  Numbers that are not finite are written as null: JSON has none."""
        self._file.write(json.dumps({key: finite(value) for key, value in row.items()}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Flush to the disk and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def lasting(row: dict[str, Any], *without: str) -> dict[str, Any]:
    """A row of metrics without what two equal runs may differ in, and without those named."""
    return {key: value for key, value in row.items() if key.rpartition("/")[2] not in VOLATILE and key not in without}


def finite(value: Any) -> Any:
    """The value, or None for a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a half-written last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def reset_peak_memory(device: torch.device) -> None:
    """Forget the most memory that was in use: another run begins in this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux alone can forget; elsewhere the earlier run's peak stays a lower bound
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory in use so far: the device's on CUDA, else this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
