"""`heed compare --from`: runs that were trained before, in one table and report, whatever their objectives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.reports import Run, Section, blocks, metric_curves, read_runs, run_details, write_report
from heedful.training.run_folder import FINAL, check_writable
from heedful.types import Echo, UserError
from heedful.workflows.compare_report import EVALUATION, said_below
from heedful.workflows.tables import print_short, to_markdown, write_csv, write_json, write_text

WATCHED = ("max:eval/reward", "min:eval/loss", "min:loss")
"""What a run without keep_best is judged by: the first of these that it has."""
SHORT = ("status", "data", "watched", "best", "worst", "last", "test reward")
"""What of the table the terminal shows."""


@dataclass(frozen=True)
class Line:
    """What the metrics of a run say.

    status: finished or unfinished.  data: a letter, the same for runs on the same data.  watched: `max:NAME` or
    `min:NAME`.  best, worst, last: (step, value) of it.  validation: every `eval/` metric at the best step.
    test: what `heed compare` measured, by judge, with intervals; empty for a run that no comparison made.
    """

    name: str
    objective: str
    model: str
    status: str
    data: str
    watched: str
    best: tuple[int, float]
    worst: tuple[int, float]
    last: tuple[int, float]
    tokens: int
    seconds: float
    validation: dict[str, float]
    test: dict[str, dict[str, float]]

    def flat(self) -> dict[str, Any]:
        """One line of the CSV."""
        line: dict[str, Any] = {
            name: getattr(self, name) for name in ("name", "objective", "model", "status", "data", "watched")
        }
        for name in ("best", "worst", "last"):
            step, value = getattr(self, name)
            line |= {f"{name}_step": step, name: value}
        line |= {"tokens": self.tokens, "seconds": self.seconds}
        line |= {f"validation/{name.removeprefix('eval/')}": value for name, value in self.validation.items()}
        for judge, interval in self.test.items():
            line |= {f"test/{judge}": interval["value"]}
            line |= {f"test/{judge}/{end}": interval[end] for end in ("low", "high")}
        return line


def tabulate(paths: Sequence[Path], out: Path, echo: Echo = print) -> Path:
    """Write table.csv, table.json, table.md and report.html about the runs to the folder `out`; returns the report.

    Runs that are not finished, and runs on other data than the first, are named as such.
    Raises UserError for a folder that is no run, or that trained no step.
    """
    if not paths:
        raise UserError("name run folders: heed compare --from runs/dpo runs/kto")
    check_writable(out)
    runs = read_runs(paths)
    letters = data_letters(runs)
    lines = [line_of(run, letter) for run, letter in zip(runs, letters, strict=True)]
    said = notes(lines)
    headers, rows = texts(lines)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "table.csv", [line.flat() for line in lines])
    content = {"notes": said, "runs": [line.flat() for line in lines]}
    write_json(out / "table.json", content)
    write_text(out / "table.md", to_markdown(headers, rows, said))
    print_short("Runs", headers, rows, SHORT)
    for note in said:
        echo(note)
    sections = [
        Section("Result", blocks.table(headers, rows) + said_below(said)),
        Section("Curves", metric_curves(runs, x="tokens")),
        *run_details(runs),
    ]
    page = write_report(out / "report.html", f"{len(runs)} runs: {', '.join(run.name for run in runs)}", sections)
    echo(f"Wrote {out}: report.html (open it in any browser), table.csv, table.json, table.md.")
    return page


def data_letters(runs: Sequence[Run]) -> list[str]:
    """A for the first run's data and all that have the same, B for the next, and so on."""
    keys = [_data_key(run) for run in runs]
    different = list(dict.fromkeys(keys))
    return [_letter(different.index(key)) for key in keys]


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"data {index + 1}"


def _data_key(run: Run) -> str:
    """Equal for runs whose examples, trained on and evaluated on, say the same."""
    return json.dumps(run.data.get("examples") or run.data.get("sources"), sort_keys=True)


def line_of(run: Run, data: str) -> Line:
    """What a run's folder says of it.

    Raises UserError if it has no numbers yet.
    """
    watched = run.config.get("keep_best") or next(
        (each for each in WATCHED if _points(run, each.partition(":")[2])), WATCHED[-1]
    )
    direction, _, name = watched.partition(":")
    points = _points(run, name)
    if not points:
        raise UserError(f"{run.path}: this run has no {name} yet; train it on, or leave it out")
    low, high = (choose(points, key=lambda point: point[1]) for choose in (min, max))
    best, worst = (low, high) if direction == "min" else (high, low)
    objective = run.config.get("objective", {})
    trained = [row for row in run.metrics if "time_s" in row]
    test = run.path / EVALUATION
    return Line(
        run.name,
        str(objective.get("name", "")),
        str(run.config.get("model", "")),
        "finished" if (run.path / FINAL).is_dir() else "unfinished",
        data,
        watched,
        best,
        worst,
        points[-1],
        max((row["tokens"] for row in trained), default=0),
        sum(row["time_s"] for row in trained),
        {k: v for row in run.metrics if row["step"] == best[0] for k, v in row.items() if k.startswith("eval/")},
        json.loads(test.read_text(encoding="utf-8"))["rewards"] if test.is_file() else {},
    )


def _points(run: Run, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in run.metrics if row.get(name) is not None]


def notes(lines: Sequence[Line]) -> list[str]:
    """Which runs do not compare, the data first."""
    found = []
    if len({line.data for line in lines}) > 1:
        listed = ", ".join(f"{line.name} {line.data}" for line in lines)
        found.append(f"NOT THE SAME DATA: runs with different letters saw other examples ({listed})")
    unfinished = [line.name for line in lines if line.status != "finished"]
    if unfinished:
        found.append(f"NOT FINISHED: {', '.join(unfinished)}")
    if len({line.watched for line in lines}) > 1:
        found.append("best and worst are by different metrics, which do not compare")
    if any(line.test for line in lines):
        found.append("test: the answers that heed compare measured, with 95 % intervals over prompts")
    return found


def texts(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of the table."""
    judges = list(dict.fromkeys(judge for line in lines for judge in line.test))
    rewards = (name for line in lines for name in line.validation if f"{name}/".startswith("eval/reward/"))
    parts = list(dict.fromkeys(rewards))
    headers = ["run", "objective", "status", "data", "watched", "best", "worst", "last", "tokens", "seconds"]
    rows = []
    for line in lines:
        cells = [line.name, line.objective, line.status, line.data, line.watched]
        cells += [f"{value:.4f} (step {step})" for step, value in (line.best, line.worst, line.last)]
        cells += [f"{line.tokens:,}", f"{line.seconds:,.1f}"]
        cells += [f"{line.validation[name]:.4f}" if name in line.validation else "" for name in parts]
        rows.append([*cells, *(_interval(line.test.get(judge)) for judge in judges)])
    headers += [f"validation {name.removeprefix('eval/')}" for name in parts]
    return [*headers, *(f"test {judge}" for judge in judges)], rows


def _interval(interval: dict[str, float] | None) -> str:
    return "" if interval is None else f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
