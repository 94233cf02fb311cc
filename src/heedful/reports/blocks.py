"""Building blocks of a report: tables, facts, notes, samples side by side.  Each returns HTML; all text is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal
from urllib.parse import quote

Tone = Literal["good", "bad"]


@dataclass(frozen=True)
class Cell:
    """A table cell with a tone: said in words by `text`, and in colour by `tone`."""

    text: str
    tone: Tone | None = None


def table(headers: Sequence[str], rows: Sequence[Sequence[str | Cell]], *, words: bool = False) -> str:
    """A table; the first column is what a row is about.  words: cells hold sentences, not numbers."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    body = "".join("<tr>" + "".join(_cell(c) for c in row) + "</tr>" for row in rows)
    kind = ' class="words"' if words else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    return f'<td class="{cell.tone}">{escape(cell.text)}</td>' if cell.tone else f"<td>{escape(cell.text)}</td>"


def facts(pairs: Mapping[str, Any]) -> str:
    """Names and values, nested mappings with dotted names."""
    return table(["", ""], [[k, v] for k, v in flatten(pairs).items()], words=True).replace(
        "<thead><tr><th></th><th></th></tr></thead>", ""
    )


def flatten(pairs: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` as `{"a.b": "1"}`; lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in pairs.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def paragraph(text: str) -> str:
    """A paragraph of running text."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """A smaller paragraph, for what qualifies the numbers beside it."""
    return f'<p class="note">{escape(text)}</p>'


def warning(text: str) -> str:
    """A paragraph that nobody should pass over."""
    return f'<p class="bad">{escape(text)}</p>'


def link(place: str, text: str) -> str:
    """A paragraph that leads to a file beside the report."""
    return f'<p><a href="{escape(quote(place))}">{escape(text)}</a></p>'


def folded(summary: str, html: str) -> str:
    """HTML behind a line to open it by."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


@dataclass(frozen=True)
class Answer:
    """One model's answer in a side-by-side comparison, with a verdict and its tone."""

    model: str
    text: str
    verdict: str = ""
    tone: Tone | None = None


def side_by_side(prompt: str, answers: Sequence[Answer]) -> str:
    """A prompt and what each model made of it."""
    columns = "".join(
        f'<div><h4>{escape(a.model)} <span class="{a.tone or ""}">{escape(a.verdict)}</span></h4>'
        f"<pre>{escape(a.text) or '(nothing)'}</pre></div>"
        for a in answers
    )
    return f'<div class="sample"><pre class="prompt">{escape(prompt)}</pre><div class="grid">{columns}</div></div>'
