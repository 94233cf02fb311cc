"""Small Examples and files for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from heedful.types import TEXT, Example, Message, Response, Span


def user(content: str) -> Message:
    return Message("user", content)


def assistant(content: str) -> Message:
    return Message("assistant", content)


def text(content: str) -> Message:
    return Message(TEXT, content)


def pair(prompt: str, chosen: str = "yes", rejected: str = "no", **labels: Any) -> Example:
    """A chat pair whose first response a human preferred."""
    responses = [Response([assistant(chosen)]), Response([assistant(rejected)])]
    return Example([user(prompt)], responses, **{"better": 0, "origin": f"pairs.jsonl:{prompt}", **labels})


def single(prompt: str, answer: str = "yes", **labels: Any) -> Example:
    """A chat prompt with one response that carries `labels`."""
    return Example([user(prompt)], [Response([assistant(answer)], **labels)], origin=f"singles.jsonl:{prompt}")


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# hypothesis

_finite = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | _finite | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_extra = st.dictionaries(st.text(min_size=1, max_size=6), _json, max_size=3)
_name = st.none() | st.text(min_size=1, max_size=10)
_message = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool", TEXT]), st.text(max_size=30), st.booleans()
)
_span = st.tuples(st.integers(0, 50), st.integers(0, 50), _finite).map(
    lambda s: Span(min(s[0], s[1]), max(s[0], s[1]), s[2])
)
_response = st.builds(
    Response,
    st.lists(_message, max_size=3),
    reward=st.none() | _finite,
    cost=st.none() | _finite,
    desirable=st.none() | st.booleans(),
    safe=st.none() | st.booleans(),
    harm_categories=st.lists(st.text(min_size=1, max_size=8), max_size=3),
    severity=st.none() | st.integers(0, 5),
    rank=st.none(),
    weight=st.none() | _finite,
    spans=st.lists(_span, max_size=3),
    source=_name,
    extra=_extra,
)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Any Example our schema can hold; ranks, where given, agree with `better`."""
    responses = draw(st.lists(_response, max_size=3))
    ranked = draw(st.booleans())
    for place, response in enumerate(responses, start=1):
        response.rank = place if ranked else None
    which = st.none() | st.integers(0, len(responses) - 1) if responses else st.none()
    return Example(
        draw(st.lists(_message, max_size=3)),
        responses,
        better=draw(st.sampled_from([None, 0])) if ranked and responses else draw(which),
        safer=draw(which),
        strength=draw(st.none() | _finite),
        margin=draw(st.none() | _finite),
        id=draw(_name),
        source=draw(_name),
        origin=draw(_name),
        extra=draw(_extra),
    )
