"""Curves of metrics as inline SVG, drawn by altair and vl-convert without a browser.

The drawings take their text colour from the page (`currentColor`), so that one drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

Points = Sequence[tuple[float, float]]

PALETTE = ("#3d8bd4", "#e0802b", "#2f9e6b", "#c2569c", "#8a7be0", "#b59a2b", "#d65a5a", "#3aa6b0")
"""Legible on white and on near-black."""

MAX_POINTS = 240
"""Points of one curve; longer ones are averaged in bins, which a chart 300 points wide cannot show anyway."""

_INK = "#010203"  # stands for the page's text colour until the drawing is done


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, always the same for the same place in the list."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def legend(names: Sequence[str]) -> str:
    """Names with their colours."""
    items = "".join(f'<span><i style="background:{c}"></i>{escape(n)}</span>' for n, c in colours(names).items())
    return f'<div class="legend">{items}</div>'


def chart(title: str, lines: Mapping[str, Points], *, x: str = "step", names: Sequence[str] | None = None) -> str:
    """A figure with one line for each name: (x, y) points in order of x; empty string if there is nothing to draw.

    names: everything the legend holds, so that colours agree over several charts.
    """
    drawn = {name: _thinned(points) for name, points in lines.items() if len(points)}
    if not drawn:
        return ""
    svg = _svg(drawn, colours(names or list(lines)), x)
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def grid(figures: Sequence[str]) -> str:
    """Figures beside each other as the screen allows."""
    return f'<div class="grid">{"".join(figures)}</div>'


def _thinned(points: Points) -> np.ndarray:
    values = np.asarray(points, dtype=np.float64)
    if len(values) <= MAX_POINTS:
        return values
    return np.stack([part.mean(0) for part in np.array_split(values, MAX_POINTS)])


def _svg(lines: Mapping[str, np.ndarray], colour: Mapping[str, str], x: str) -> str:
    import altair as alt
    import vl_convert

    rows = [{"x": px, "y": py, "name": name} for name, points in lines.items() for px, py in points.tolist()]
    shade = alt.Color("name:N", legend=None, scale=alt.Scale(domain=list(lines), range=[colour[n] for n in lines]))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("x:Q", title=x, axis=alt.Axis(tickCount=5, format="~s")),
        y=alt.Y("y:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=_format(rows))),
        color=shade,
    )
    # A line of one point is invisible, so such lines are dots.
    lonely = [name for name, points in lines.items() if len(points) == 1]
    layers: list[Any] = [base.mark_line(strokeWidth=1.6, interpolate="monotone")]
    if lonely:
        layers.append(base.mark_point(filled=True, size=40).transform_filter(alt.FieldOneOfPredicate("name", lonely)))
    ink: dict[str, Any] = {"labelColor": _INK, "titleColor": _INK, "domainColor": _INK, "tickColor": _INK}
    drawing = (
        alt.layer(*layers)
        .properties(width=300, height=150)
        .configure(background="transparent", padding=2)
        .configure_view(stroke=None)
        .configure_axis(**ink, gridColor=_INK, gridOpacity=0.12, labelFontSize=11, titleFontWeight="normal")
    )
    return _inlined(vl_convert.vegalite_to_svg(drawing.to_dict()))


def _format(rows: Sequence[Mapping[str, Any]]) -> str:
    """Learning rates read better as 2e-5 than as 0.00002."""
    return "~e" if max(abs(row["y"]) for row in rows) < 0.01 else "~g"


def _inlined(svg: str) -> str:
    """The drawing as a part of a page: no namespaces (HTML knows them), the page's ink, the page's width."""
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"|\sversion="[^"]*"', "", svg)
    svg = re.sub(r'^<svg([^>]*?)\swidth="[^"]*"\sheight="[^"]*"', r"<svg\1", svg.strip())
    return (
        svg.replace(_INK, "currentColor").replace("rgb(1,2,3)", "currentColor").replace("rgb(1, 2, 3)", "currentColor")
    )
