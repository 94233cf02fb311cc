"""Scores of any text."""

from __future__ import annotations

from collections.abc import Sequence


def length(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Characters of the response."""
    return [float(len(r)) for r in responses]
