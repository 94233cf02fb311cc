"""What was watched during a run: samples of every scenario, the worst first, and segments that were trained on."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from heedful.reports import blocks

WATCHED_FILE = "watched.jsonl"
SHOWN = 12
"""Rows of each kind at each look; all are in the file."""

Row = dict[str, Any]


def watched(run: Path) -> str:
    """The looks of a run, the last one first and open; empty if nothing was watched."""
    looks: dict[int, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(run / WATCHED_FILE):
        name = row["name"] if row["kind"] == "sample" else ""
        looks[row["step"]][row["kind"], name].append(row)
    steps = sorted(looks, reverse=True)
    parts = [_look(looks[step]) for step in steps]
    titles = [f"after step {step:,}" for step in steps]
    if not parts:
        return ""
    others = "".join(blocks.folded(title, part) for title, part in zip(titles[1:], parts[1:], strict=True))
    return blocks.paragraph(titles[0]) + parts[0] + others


def _look(kinds: dict[tuple[str, str], list[Row]]) -> str:
    html = ""
    for (kind, name), rows in kinds.items():
        worst = sorted(rows, key=lambda row: -(row["score"] or 0.0))
        step = max(1, len(worst) // SHOWN)
        shown = worst[::step][:SHOWN]
        if kind == "sample":
            about = f"{name}: {len(shown)} of {len(rows):,} samples, from the worst to the best"
            cells = [[_number(row["score"]), row["prompt"], row["text"]] for row in shown]
            html += blocks.paragraph(about) + blocks.table(["score", "prompt", "sample"], cells, words=True)
        else:
            cells = [
                [
                    _number(row["score"]),
                    _number(row.get("carried")),
                    row["prompt"][:200],
                    row["text"][:600],
                    "".join(f"[{_number(score)}] {text}" for text, score in row.get("pieces", ()))[:600],
                ]
                for row in shown
            ]
            headers = ["scored again", "carried", "control tokens", "text that was trained on", "[score] of its pieces"]
            html += blocks.paragraph("segments of the last step") + blocks.table(headers, cells, words=True)
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
