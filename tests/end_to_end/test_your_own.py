"""The pages on what users write themselves: every file on them is written, every command run, every output compared."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from heedful.cli.root import main

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("your-own-*.md"))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file it is (`>>FILE`: what is appended to it), and its text."""

    language: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, what the page shows of its output) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


def said_by(line: str) -> tuple[int, str]:
    """Status and output of a command line; `heed` runs in this process, which has torch loaded already."""
    words = shlex.split(line)
    if words[0] != "heed":
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(words[1:])
    return status, out.getvalue()


def pattern(shown: str) -> str:
    """What output must look like: `…` is anything, and the last digits and times of a machine are its own."""
    escaped = re.escape(shown).replace(re.escape("…"), ".*?")
    escaped = re.sub(r"\de(\\-|\+|\\\+)\d\d", r"\\de[-+]\\d\\d", escaped)
    escaped = re.sub(r"in\\ \d+\\ s", r"in\\ \\d+\\ s", escaped)
    return re.sub(r"on\\ cpu:", "on\\\\ (cpu|cuda|mps):", escaped)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_is_true(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    num = 0
    for block in blocks(page):
        if block.language != "console":
            assert block.file, f"{page.name}: a block of {block.language} that is no file"
            with open(block.file.removeprefix(">>"), "a" if block.file.startswith(">>") else "x") as file:
                file.write(block.text)
            continue
        for line, shown in commands(block.text):
            status, said = said_by(line)
            assert bool(status) == ("heed: " in shown), f"{line}\n{said}"
            assert re.fullmatch(pattern(shown), said, re.DOTALL), f"{line}\n{said}"
            num += 1
    assert num >= 3


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (PAGES[0].parent.parent / "README.md").read_text(encoding="utf-8")
    assert len(PAGES) >= 3
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []


def test_no_block_or_command_of_a_page_goes_unseen() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(blocks(page))
        outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^ {4}heed |`heed [^`\s]+ [^`]", outside, re.MULTILINE), (
            "commands stand in console blocks"
        )
