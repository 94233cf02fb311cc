"""A column of the user's own that an objective reads."""

from __future__ import annotations

import math
from typing import Any

import pytest

from heedful.tokens.columns import COLUMNS, labels_of
from heedful.types import Example, Message, Response, UserError


def prompt_desirability(of_example: dict[str, Any], of_response: dict[str, Any]) -> float:
    response = Response([Message("assistant", "yes")], extra=of_response)
    example = Example([Message("user", "no?")], [response], origin="rows.jsonl:3", extra=of_example)
    return dict(zip(COLUMNS, labels_of(example, response, 0), strict=True))["prompt_desirability"]


def test_a_probability_is_read_from_the_response_or_the_row() -> None:
    assert prompt_desirability({"prompt_desirability": 0.25}, {}) == 0.25
    assert prompt_desirability({"prompt_desirability": 0.25}, {"prompt_desirability": 1}) == 1.0
    assert math.isnan(prompt_desirability({}, {}))


@pytest.mark.parametrize("value", [1.5, -0.1, "often", True, math.nan])
def test_what_is_no_probability_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:3: prompt_desirability=.* must be a probability"):
        prompt_desirability({"prompt_desirability": value}, {})
