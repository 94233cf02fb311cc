"""What was watched during a run: samples of every scenario, the worst first, and segments that were trained on."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from heedful.reports import blocks
from heedful.reports.page import Section, write_report

WATCHED_FILE = "watched.jsonl"
SHOWN = 12
"""Rows of each kind at each look that the report itself shows."""
CHARACTERS = 600
"""Of a segment, which may be as long as a sequence."""

Row = dict[str, Any]


def watched(run: Path, report: Path, name: str) -> str:
    """The looks of a run as HTML, the last one first and open; empty if nothing was watched.

    report: the page that it becomes a part of, which shows some of each look.  All of a look are on a page of its own
    beside it, `REPORT-samples/NAME/step-N.html`, to which it links: a run may have made millions.  name: the run's.
    """
    looks: dict[int, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(run / WATCHED_FILE):
        scenario = row["name"] if row["kind"] == "sample" else ""
        looks[row["step"]][row["kind"], scenario].append(row)
    parts, folder = [], re.sub(r"[^\w.-]+", "-", name).strip("-")  # runs of one name are told apart by their paths
    for step in sorted(looks, reverse=True):
        title, html = f"after step {step:,}", _look(looks[step], SHOWN)
        if any(len(rows) > SHOWN for rows in looks[step].values()):
            page = report.parent / f"{report.stem}-samples" / folder / f"step-{step:06d}.html"
            write_report(page, f"{name} {title}", [Section("Samples and segments", _look(looks[step], None))])
            html += blocks.link(page.relative_to(report.parent).as_posix(), f"all that was seen {title}")
        parts.append(blocks.folded(title, html) if parts else blocks.paragraph(title) + html)
    return "".join(parts)


def _look(kinds: dict[tuple[str, str], list[Row]], most: int | None) -> str:
    """What was seen, the worst first.  most: of so many rows of each kind, evenly from the worst to the best."""
    html = ""
    for (kind, name), rows in kinds.items():
        worst = sorted(rows, key=lambda row: -(row["score"] or 0.0))
        shown = worst if most is None else worst[:: max(1, len(worst) // most)][:most]
        some = "all" if len(shown) == len(rows) else f"{len(shown)} of"
        if kind == "sample":
            about = f"{name}: {some} {len(rows):,} samples, from the worst to the best"
            cells = [[_number(row["score"]), row["prompt"], row["text"]] for row in shown]
            html += blocks.paragraph(about) + blocks.table(["score", "prompt", "sample"], cells, words=True)
        else:
            cells = [
                [
                    _number(row["score"]),
                    _number(row.get("carried")),
                    row["prompt"][:CHARACTERS],
                    row["text"][:CHARACTERS],
                    "".join(f"[{_number(score)}] {text}" for text, score in row.get("pieces", ()))[:CHARACTERS],
                ]
                for row in shown
            ]
            headers = ["scored again", "carried", "control tokens", "text that was trained on", "[score] of its pieces"]
            about = f"segments of the last step: {some} {len(rows):,}"
            html += blocks.paragraph(about) + blocks.table(headers, cells, words=True)
    return html


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _rows(path: Path) -> list[Row]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a run that was killed while it wrote
            break
    return rows
