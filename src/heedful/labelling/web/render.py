"""Markdown to HTML that can do no harm: no scripts, styles or images (a remote one tells where it is looked at)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from heedful.types import TEXT

TAGS = {
    *("a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol"),
    *("p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "td": {"align"}, "th": {"align"}}
SCHEMES = {"http", "https", "mailto"}
HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True}).enable(
        ["table", "strikethrough"]
    )


def markdown(text: str) -> Markup:
    """The text as HTML; what is no Markdown is shown as it was written."""
    cleaned = nh3.clean(
        _markdown().render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(cleaned)


def message(turn: Mapping[str, str]) -> Markup:
    """One turn; verbatim text, as code, keeps every blank."""
    if turn["role"] == TEXT:
        return Markup("<pre class='verbatim'>{}</pre>").format(turn["content"])
    return markdown(turn["content"])


def letter(place: int) -> str:
    """What a response is called on the screen: A, B, …"""
    return chr(ord("A") + place)


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The pages."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": markdown, "message": message, "letter": letter}
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["clock"] = lambda at: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
    environment.filters["moment"] = lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    for name in environment.list_templates():  # translated now, not while the first person waits
        environment.get_template(name)
    return environment


def page(name: str, values: Mapping[str, Any]) -> str:
    """A page as HTML."""
    return templates().get_template(name).render(**values)


def bars(rows: Sequence[tuple[str, float, str]], *, width: int = 420, most: float | None = None) -> Markup:
    """A bar chart as inline SVG.  rows: name, length, what stands behind the bar; read aloud in these words."""
    if not rows:
        return Markup("")
    step, left = 26, 110
    longest = max(most or 0.0, max(value for _, value, _ in rows), 1e-9)
    words = "; ".join(f"{name}: {note}" for name, _, note in rows)
    opening = Markup("<svg class='bars' viewBox='0 0 {} {}' role='img' aria-label='{}'>")
    parts = [opening.format(width, step * len(rows) + 4, words)]
    for number, (name, value, note) in enumerate(rows):
        y, length = step * number + 2, max(0.0, (width - left - 90) * value / longest)
        parts.append(Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(left - 8, y + 15, name[:14]))
        parts.append(Markup("<rect x='{}' y='{}' width='{:.1f}' height='18' rx='3'/>").format(left, y + 1, length))
        parts.append(Markup("<text x='{:.1f}' y='{}'>{}</text>").format(left + length + 6, y + 15, note))
    return Markup("").join([*parts, Markup("</svg>")])
