"""The labels of an example as numbers per response, the form in which objectives read them."""

from __future__ import annotations

from collections.abc import Callable

from heedful.examples.mismatched import is_mismatched
from heedful.types import Example, Response, UserError

NAN = float("nan")


def _number(value: float | bool | None) -> float:
    return NAN if value is None else float(value)


def _is(index: int | None, k: int) -> float:
    return NAN if index is None else float(index == k)


def _probability(example: Example, response: Response, name: str) -> float:
    """A probability that the row gives in a column of its own, of the response or of the whole example."""
    value = response.extra.get(name, example.extra.get(name))
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{example.origin}: {name}={value!r} must be a probability, a number from 0 to 1.")
    return float(value)


def _value(example: Example, response: Response) -> float:
    """V(prompt) under the reference policy, where a row gives it in a column of its own or a run computed it."""
    value = response.extra.get("value", example.extra.get("value"))
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UserError(f"{example.origin}: value={value!r} must be a number, what the prompt is worth.")
    return _number(value)


COLUMNS: dict[str, Callable[[Example, Response, int], float]] = {
    "reward": lambda example, response, k: _number(response.reward),
    "cost": lambda example, response, k: _number(response.cost),
    "desirable": lambda example, response, k: _number(response.desirable),
    "safe": lambda example, response, k: _number(response.safe),
    "severity": lambda example, response, k: _number(response.severity),
    "rank": lambda example, response, k: _number(response.rank),
    "weight": lambda example, response, k: _number(response.weight),
    "chosen": lambda example, response, k: _is(example.better, k),
    "safer": lambda example, response, k: _is(example.safer, k),
    "margin": lambda example, response, k: _number(example.margin),
    "strength": lambda example, response, k: _number(example.strength),
    "prompt_desirability": lambda example, response, k: _probability(example, response, "prompt_desirability"),
    "value": lambda example, response, k: _value(example, response),
    "mismatched": lambda example, response, k: float(is_mismatched(response)),
}
"""Name to value of response `k` of an example.  Absent labels are NaN; labels of the example are repeated on each."""


def labels_of(example: Example, response: Response, k: int) -> list[float]:
    """The values of every column, in the order of `COLUMNS`, for response `k`."""
    return [value(example, response, k) for value in COLUMNS.values()]


COMPONENT = "reward/"
"""`Response.extra["reward/NAME"]` is what the source NAME of a composed reward said; it becomes a column."""


def components_of(response: Response) -> dict[str, float]:
    """What each source of the response's reward said, by the names of the columns."""
    numbers = {name: value for name, value in response.extra.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if name.startswith(COMPONENT)}
