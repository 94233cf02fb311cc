"""docs/rewards-and-values.md: every file is written, every command run, every output compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.test_your_own import PAGES, blocks
from tests.end_to_end.test_your_own import test_the_page_is_true as page_is_true

PAGE = PAGES[0].with_name("rewards-and-values.md")


@pytest.mark.slow
def test_the_page_on_rewards_and_values_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page_is_true(PAGE, tmp_path, monkeypatch)
    assert [block.language for block in blocks(PAGE)].count("console") == 4
