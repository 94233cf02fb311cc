"""The files of a comparison on documents: table.json, table.md, and report.html with curves and samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heedful.reports import blocks
from heedful.reports.page import Section, write_report
from heedful.reports.runs import metric_curves, read_runs, run_details
from heedful.reports.watched import watched
from heedful.types import Echo
from heedful.workflows.tables import print_table, to_markdown, write_json, write_text

if TYPE_CHECKING:
    from heedful.workflows.compare_documents import SeedRun

# Student's t of 97.5 % for 1, 2, 3 … degrees of freedom; 1.96 beyond.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

LAST_PARTS = {"score": "score", "hits": "share above threshold", "parses": "parse", "characters": "characters"}
"""Of each scenario, what the table shows, by the last part of the metric's name."""

OTHERS = {
    "held_out/nats_per_character": "held out, nats/char",
    "kl/from_mle_per_token": "KL from mle, nats/token",
    "tokens_per_s": "tokens/s",
}


def write_all(out: Path, runs: Sequence[SeedRun], echo: Echo) -> Path:
    """Table and report; returns the report's path."""
    names = columns(runs)
    labels = list(dict.fromkeys(run.label for run in runs))
    values = {label: {n: interval([r.measures[n] for r in runs if r.label == label and n in r.measures]) for n in names}
              for label in labels}  # fmt: skip
    headers = ["objective", *names.values()]
    rows = [[label, *(_cell(values[label][name]) for name in names)] for label in labels]
    seeds = sorted({run.seed for run in runs})
    notes = [
        f"Means over {len(seeds)} seeds ({', '.join(map(str, seeds))}) with 95 % intervals (Student's t).",
        "Scores are of the samples after the last step; lower is better.  Held-out text and KL are measured behind the "
        "aligned control token where an objective has one; it does not count itself.",
    ]
    write_json(out / "table.json", {"runs": [{"objective": r.label, "seed": r.seed, **r.measures} for r in runs]})
    write_text(out / "table.md", to_markdown(headers, rows, notes))
    folders = [Path(run.config.out) for run in runs if run.seed == seeds[0]]
    read = read_runs(folders)
    looked = sorted({name for run in runs for name in run.measures if name.startswith("generation/")})
    page = out / "report.html"
    sections = [
        Section("Table", blocks.table(headers, rows) + "".join(blocks.note(note) for note in notes)),
        Section(f"Curves, seed {seeds[0]}", metric_curves(read, ["loss", *looked], x="tokens")),
        Section(
            "Samples", "".join(blocks.folded(folder.name, watched(folder, page, folder.name)) for folder in folders)
        ),
        *run_details(read),
    ]
    path = write_report(page, f"{len(labels)} objectives on documents", sections)
    print_table("Objectives on documents", headers, rows, notes)
    echo(f"Wrote {out}: report.html (open it in any browser), table.md, table.json, runs.")
    return path


def columns(runs: Sequence[SeedRun]) -> dict[str, str]:
    """The measures that the table shows, with their headers."""
    found = {}
    for name in dict.fromkeys(name for run in runs for name in run.measures):
        parts = name.split("/")
        if parts[0] == "generation" and parts[-1] in LAST_PARTS:
            found[name] = f"{parts[1]}: {LAST_PARTS[parts[-1]]}"
    known = {name for run in runs for name in run.measures}
    return found | {name: header for name, header in OTHERS.items() if name in known}


def interval(values: Sequence[float]) -> tuple[float, float | None] | None:
    """Mean and half its 95 % interval (None of one value); None of nothing."""
    if not values:
        return None
    if len(values) == 1:
        return float(values[0]), None
    freedom = len(values) - 1
    t = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.96
    return float(np.mean(values)), float(t * np.std(values, ddof=1) / len(values) ** 0.5)


def _cell(value: tuple[float, float | None] | None) -> str:
    if value is None:
        return "–"
    mean, half = value
    return f"{mean:.4g}" if half is None else f"{mean:.4g} ± {half:.2g}"
