"""Text to values: the type decides, not the looks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt
from hypothesis import given
from hypothesis import strategies as st

from heedful.config.tree import parse_flow
from heedful.config.values import Plain, by_type

AS_A_PERSON_EXPECTS = [
    ("12:30", str, "12:30"),  # YAML 1.1 makes 750 of it
    ("no", str, "no"),
    ("no", bool, False),
    ("on", bool, True),
    ("0", bool, False),
    ("no", bool | None, False),
    ("007", str, "007"),
    ("1.10", str, "1.10"),
    ("null", str, "null"),
    ("null", str | None, None),
    ("~", int | None, None),
    ("", float | None, None),
    ("", str | None, ""),
    ("1e-5", float, 1e-5),  # YAML 1.1 keeps this as text: it has no dot
    ("1e-5", float | None, 1e-5),
    ("-1", int, -1),
    ("-1", float, -1.0),
    (".5", float, 0.5),
    ("1e3", int, 1000),
    ("10_000", int, 10_000),
    ("1.5", int, "1.5"),  # left for the schema to refuse
    ("inf", float, float("inf")),
    ("-.inf", float, float("-inf")),
    ("auto", int | Literal["auto"], "auto"),
    ("8", int | Literal["auto"], 8),
    ("8", str | int, 8),
    ("2", Literal[1, 2], 2),
    ("no", Literal["no", "yes"], "no"),
    ("3", Annotated[int, Gt(0)], 3),
    ("[a, b]", list[str], ["a", "b"]),
    ("[1, 2]", list[str], ["1", "2"]),
    ("[1, 2]", list[float], [1.0, 2.0]),
    ("0.9,0.95", tuple[float, float], [0.9, 0.95]),
    ("my.py:read", list[str], ["my.py:read"]),
    ("[a, b]", str | list[str], ["a", "b"]),
    ("a,b", str | list[str], "a,b"),
    ("[a, b]", str, "[a, b]"),
    ("{a: 1}", dict[str, float], {"a": 1.0}),
    ("{a: 1}", dict[str, str], {"a": "1"}),
    ("1e-5", Any, 1e-5),
    ("12:30", Any, "12:30"),
    ("no", Any, "no"),
    ("true", Any, True),
    ("[1, x, null]", Any, [1, "x", None]),
]


@pytest.mark.parametrize(("text", "annotation", "value"), AS_A_PERSON_EXPECTS)
def test_unquoted_text_is_read_by_the_type_of_the_setting(text: str, annotation: Any, value: Any) -> None:
    read = by_type(Plain(text), annotation, parse_flow)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("null", str | None, "null"),
        ("1", str | int, "1"),
        ("[a]", str | list[str], "[a]"),
        ("1", Any, "1"),
        ("3", int, 3),
    ],
)
def test_quoted_text_stays_text_where_text_is_allowed(text: str, annotation: Any, value: Any) -> None:
    assert by_type(text, annotation, parse_flow) == value


@given(st.floats(allow_nan=False))
def test_every_float_reads_back_from_its_repr(number: float) -> None:
    assert by_type(Plain(repr(number)), float, parse_flow) == number


@given(st.text())
def test_text_for_a_text_setting_is_never_changed(text: str) -> None:
    assert by_type(Plain(text), str, parse_flow) == text
