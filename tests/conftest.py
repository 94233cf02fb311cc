"""Puts the project root on the path, so that every test may `from tests.fakes import ...`, and the long files first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

LONG = ("slow", "processes", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most long tests first: begun last, one of them would keep a single process busy at the end."""
    long: Counter[Path] = Counter(item.path for item in items if any(map(item.get_closest_marker, LONG)))
    items.sort(key=lambda item: -long[item.path])
