"""What the README and the pages under docs/ say can be done is done, as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heedful.cli.root import main
from heedful.config.resume import RESUMABLE
from heedful.examples.readers import READERS, detect
from heedful.examples.readers.reader import Asked, examples_of
from heedful.types import Example
from heedful.workflows.labels_demo import demo as label_demo
from tests.end_to_end.runs import environment

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")
RESUMING = (ROOT / "docs" / "resuming.md").read_text(encoding="utf-8")
NAMED_ONLY = {"oasst-en", "ultrafeedback-armorm-all"}
"""Readers of rows that another reader claims."""
ELSEWHERE = ("make ", "source ", "conda ", "heed label demo")
"""Lines that set things up or serve until they are stopped; the targets of make are tested by what they run."""


def commands() -> list[str]:
    """The lines of the README's indented blocks that a shell takes, without their comments."""
    lines = [line.partition("  #")[0].strip() for line in README.splitlines() if line.startswith("    ")]
    return [line for line in lines if re.match(r"([A-Z_]+=\S+ )?[a-z]+ ", line)]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs.jsonl: the README's row, and others like it."""
    folder = tmp_path_factory.mktemp("readme")
    (row,) = (json.loads(line) for line in README.splitlines() if line.startswith('    {"prompt"'))
    words = ("river", "lake", "pond", "well", "spring", "brook", "canal", "fjord", "delta", "stream", "gulf", "bay")
    with (folder / "pairs.jsonl").open("w") as file:
        for word in words:
            file.write(json.dumps({key: text.replace("river", word) for key, text in row.items()}) + "\n")
    (folder / "my_sources").mkdir()
    for i in range(6):
        (folder / "my_sources" / f"module{i}.py").write_text(
            "".join(f"def f{k}(a,b):\n    return a+{k}\n" for k in range(9))
        )
    watch = "watch: {scorer: pep8, scenarios: [{name: short, num_samples: 4, max_new_tokens: 8}]}\n"
    (folder / "watch.yaml").write_text(watch)
    label_demo(folder / "label-demo", lambda line: None).close()  # what `heed label demo` makes before it serves
    return folder


def shell(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    env = environment(place)
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    return subprocess.run(line, shell=True, cwd=place, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_every_command_of_the_readme_runs_in_its_order(place: Path) -> None:
    lines = [line for line in commands() if not line.startswith(ELSEWHERE)]
    assert len(lines) >= 8
    for line in lines:
        done = shell(place, line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (place / "better" / "final" / "model.safetensors").is_file()
    assert all(r["reward"] is not None for e in _rows(place / "scored.jsonl") for r in e["responses"])
    assert (place / "report.html").is_file()
    (code,) = blocks(README, "python")
    done = shell(place, f"{sys.executable} - <<'END'\n{code}\nEND")
    assert done.returncode == 0, done.stderr
    assert (place / "from-python" / "final").is_dir()


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.open()]


def test_commands_in_the_text_and_in_the_tables_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    spoken = [words for words in re.findall(r"`heed ([a-z][^`]*)`", README) if "…" not in words]
    assert len(spoken) >= 5
    for words in spoken:
        if words.split()[0] in ("objectives", "recipes") or "--help" in words:
            assert main(words.split()) == 0, words
    capsys.readouterr()


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_reader_has_a_row_in_the_docs_that_it_reads() -> None:
    shown = [[json.loads(line) for line in block.splitlines()] for block in blocks(FORMATS, "json")]
    readers = {detect(row).name for rows in shown for row in rows}
    assert readers | {"text"} | NAMED_ONLY == set(READERS)
    for rows in shown:
        found = list(examples_of(detect(rows[0]), [("docs", row) for row in rows], Asked()))
        assert found
        assert all(isinstance(item, Example) and (item.prompt or item.responses) for item in found)


def test_the_reader_of_the_docs_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from heedful.examples import load

    monkeypatch.chdir(place)
    (code,) = blocks(FORMATS, "python")
    (place / "my.py").write_text(code)
    assert "data=read_mine readers=[my.py:read_mine]" in FORMATS
    assert [e.responses[0].text for e in load("read_mine", readers=["my.py:read_mine"])] == [" Water.", " Still water."]


def test_the_docs_list_what_may_change_on_resume() -> None:
    listed = re.search(r"<!-- resumable -->\n(.*?)<!-- /resumable -->", RESUMING, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == RESUMABLE
