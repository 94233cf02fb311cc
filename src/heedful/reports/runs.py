"""The report of run folders: what was trained, how it went, on what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.reports import blocks, curves
from heedful.reports.page import Section, write_report
from heedful.reports.watched import watched
from heedful.types import UserError

FIRST = ("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "kl")
"""What a person looks at first, by the last parts of a metric's name; the others follow by name."""

X_AXES = ("step", "tokens", "tokens_seen", "epoch", "time_s")


@dataclass(frozen=True)
class Run:
    """What a run folder says: settings, environment, data counts, and the rows of metrics.jsonl."""

    path: Path
    name: str
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    metrics: list[dict[str, Any]]


def read_run(path: Path | str) -> Run:
    """Read a run folder.  Raises UserError if it is none (it has no metrics.jsonl)."""
    import yaml

    path = Path(path)
    file = path / "metrics.jsonl"
    if not file.is_file():
        raise UserError(f"{path} is not a run folder: it has no metrics.jsonl.")
    config = path / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    data, environment = (_json(path / name) for name in ("data.json", "environment.json"))
    return Run(path, path.resolve().name, settings, environment, data, _rows(file))


def read_runs(paths: Sequence[Path | str]) -> list[Run]:
    """Read run folders, told apart by name."""
    return _with_distinct_names([read_run(path) for path in paths])


def report(runs: Sequence[Path | str], out: Path | str | None = None, *, x: str = "step") -> Path:
    """Write one HTML file about the runs and return its path; `report.html` in the first run's folder by default.

    x: what curves are drawn over: step, tokens (of documents also tokens_seen) or epoch.
    Raises UserError for a folder that is no run, an x that is none, and a file that cannot be written.
    """
    if not runs:
        raise UserError("A report needs at least one run folder.")
    if x not in X_AXES:
        raise UserError(f"x={x}: curves are drawn over {', '.join(X_AXES)}.")
    read = read_runs(runs)
    sections = [Section("Curves", metric_curves(read, x=x)), Section("Last values", last_values(read))]
    page = Path(out or read[0].path / "report.html")
    seen = [(run.name, html) for run in read if (html := watched(run.path, page, run.name))]
    if seen:
        several = "".join(blocks.folded(name, html) for name, html in seen)
        sections.append(Section("Samples and segments", several if len(seen) > 1 else seen[0][1]))
    sections += run_details(read)
    title = read[0].name if len(read) == 1 else f"{len(read)} runs: {', '.join(r.name for r in read)}"
    return write_report(page, title, sections)


def run_details(runs: Sequence[Run]) -> list[Section]:
    """Settings, data and environment of each run."""
    sections = []
    for what, attribute in (("Settings", "config"), ("Data", "data"), ("Environment", "environment")):
        parts = [blocks.folded(r.name, blocks.facts(getattr(r, attribute))) for r in runs if getattr(r, attribute)]
        if len(runs) == 1 and parts:
            parts = [blocks.facts(getattr(runs[0], attribute))]
        sections.append(Section(what, "".join(parts) or blocks.note("Nothing was recorded.")))
    return sections


def metric_curves(runs: Sequence[Run], names: Sequence[str] | None = None, *, x: str = "step") -> str:
    """A legend and a chart for each metric: training as lines, evaluation as lines of their own.

    names: the metrics to draw; None draws all that are numbers.  x: what they are drawn over: step, tokens or epoch.
    """
    labels = [r.name for r in runs]
    keys = _metric_names(runs) if names is None else list(names)
    figures = [curves.chart(k, {r.name: _points(r, k, x) for r in runs}, x=x, names=labels) for k in keys]
    return (curves.legend(labels) if len(runs) > 1 else "") + curves.grid([f for f in figures if f])


def curve_of_each(runs: Sequence[Run], name: str, *, x: str = "step") -> str:
    """A chart for each run, of a metric whose scale is the run's own."""
    labels = [r.name for r in runs]
    figures = [curves.chart(r.name, {r.name: _points(r, name, x)}, x=x, names=labels) for r in runs]
    return curves.grid([f for f in figures if f])


def last_values(runs: Sequence[Run]) -> str:
    """A table of each metric's last value."""
    rows = [[k, *(_last(r, k) for r in runs)] for k in _metric_names(runs)]
    return blocks.table(["", *(r.name for r in runs)], rows)


def _last(run: Run, key: str) -> str:
    points = _points(run, key)
    return f"{points[-1][1]:.5g}" if points else ""


def _points(run: Run, key: str, x: str = "step") -> list[tuple[float, float]]:
    """A row of an evaluation says only its step; it stands where that step's own row does."""
    place = {row["step"]: row[x] for row in run.metrics if _is_number(row.get("step")) and _is_number(row.get(x))}
    place.setdefault(0, 0)
    return [
        (place[row["step"]], row[key]) for row in run.metrics if _is_number(row.get(key)) and row.get("step") in place
    ]


def _metric_names(runs: Sequence[Run]) -> list[str]:
    found = {k for r in runs for row in r.metrics for k, v in row.items() if _is_number(v) and k not in X_AXES}

    def rank(key: str) -> tuple[int, bool, str]:
        tail = key.removeprefix("train/").removeprefix("eval/")
        return (FIRST.index(tail) if tail in FIRST else len(FIRST), key.startswith("eval/"), key)

    return sorted(found, key=rank)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a run that was killed while it wrote
            break
    return rows


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _with_distinct_names(runs: list[Run]) -> list[Run]:
    """Runs of the same folder name are told apart by their paths."""
    from dataclasses import replace

    names = [r.name for r in runs]
    return [replace(r, name=str(r.path)) if names.count(r.name) > 1 else r for r in runs]
