"""Types for an objective's settings: the signature is the schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
FlipRate = Annotated[float, Ge(0), Lt(0.5)]
"""How often a label is wrong; at one half it would say nothing."""

Share = Annotated[float, Ge(0), Le(1)]
Clip = NonNegative | None
"""How far a ratio of probabilities may leave 1; null does not bound it."""


def proved_at(**settings: Any) -> Callable[[Callable], Callable]:
    """Declare values of the settings that an objective requires, with which it is listed and proved."""

    def declare(objective: Callable) -> Callable:
        objective.proved_at = settings  # type: ignore[attr-defined]
        return objective

    return declare


def required_settings(objective: Callable) -> Mapping[str, Any]:
    """What `proved_at` declared; nothing for an objective whose settings all have defaults."""
    return getattr(objective, "proved_at", {})
