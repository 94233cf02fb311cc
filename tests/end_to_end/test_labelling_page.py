"""docs/labelling.md: every file is written, every command run, every output compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.end_to_end.test_your_own import PAGES, blocks
from tests.end_to_end.test_your_own import test_the_page_is_true as page_is_true

PAGE = PAGES[0].with_name("labelling.md")


@pytest.mark.slow
def test_the_page_on_labelling_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HEEDFUL_LABELS", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    page_is_true(PAGE, tmp_path, monkeypatch)
    assert [block.language for block in blocks(PAGE)].count("console") >= 6
