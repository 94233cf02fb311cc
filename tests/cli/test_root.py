"""The command as the shell sees it: help, exit statuses, one sentence on stderr, nothing heavy at start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heedful.cli import root
from heedful.types import Interrupted, RunError, UserError

EVERY = [[name] for name in root.COMMANDS] + [
    [group, name] for group, (_, commands) in root.GROUPS.items() for name in commands
]


def heed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heedful", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that ended with status 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("heed: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command(flag: str) -> None:
    done = heed(flag)
    assert done.returncode == 0
    for name in [*root.COMMANDS, *root.GROUPS]:
        assert name in done.stdout


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"heed {' '.join(words)}" in shown.partition("Example")[2]


def test_the_start_loads_nothing_heavy() -> None:
    code = (
        "import sys; from heedful.cli import main; main(['--help']);"
        "heavy = {'torch', 'pydantic', 'transformers', 'numpy', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("module", ["heedful", "heedful.types", "heedful.config", "heedful.recipes"])
def test_these_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "did you mean train?"),
        (["data", "chekc"], "heed data chekc: there is no such command; did you mean check?"),
        (["train"], "OBJECTIVE"),
        (["score", "only-one"], "DATA"),
        (["sample", "a", "b", "--top-k", "x"], "--top-k"),
        (["recipes", "demo/dop"], "did you mean demo/dpo?"),
        (["report"], "name a run folder"),
        (["train", "dop", "model=m", "data=d"], "dpo"),
        (["train", "dpo", "model=m", "data=d", "learning_rate=1"], "did you mean lr?"),
        (["train", "dpo", "--lr", "1e-5"], "as lr=VALUE"),
        (["train", "dpo", "model=m"], "data is missing"),
        (["train", "dpo", "no-such-recipe"], "there is no such recipe"),
        (["train", "dpo", "mine.yaml"], "--config mine.yaml"),
        (["train", "kto", "demo/dpo"], "is for objective dpo"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence_and_status_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = root.main(words)
    done = subprocess.CompletedProcess(words, status, *capsys.readouterr())
    assert says in sentence(done)


def test_a_mistake_through_the_shell() -> None:
    assert "did you mean train?" in sentence(heed("trian"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("wrong"), 2),
        (RunError("failed"), 1),
        (Interrupted("stopped", signal.SIGTERM), 143),
        (Interrupted("stopped", signal.SIGINT), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_ends_a_command_decides_its_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(root, "make_app", lambda words: ends)
    assert root.main(["doctor"]) == status
    assert capsys.readouterr().err.startswith("heed: ")


def test_other_processes_of_a_launch_say_who_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert root.main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("heed (process 1): ")


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m heedful recipes | true; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
    assert "Traceback" not in done.stderr


def test_sigterm_ends_a_command_with_143(tmp_path: Path) -> None:
    waiting = (
        "import time; from heedful.cli import root;"
        "root.make_app = lambda words: lambda *a, **k: (print('on', flush=True), time.sleep(60));"
        "raise SystemExit(root.main(['doctor']))"
    )
    process = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143


def test_doctor_reports_and_refuses_a_cache_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["doctor", "--cache-dir", str(tmp_path)]) == 0
    assert "torch" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert root.main(["doctor", "--cache-dir", str(tmp_path / "file")]) == 1
    assert "cache" in capsys.readouterr().err


def test_objectives_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    from heedful.objectives import REGISTRY

    assert root.main(["objectives"]) == 0
    table = capsys.readouterr().out
    assert all(f"{name} " in table for name in REGISTRY)
    assert "Rafailov et al. 2023, arXiv:2305.18290" in table
    assert "  dpo             -log σ(β·h)" in table
    assert root.main(["objectives", "dpo"]) == 0
    assert "objective.beta (default 0.1): how strongly" in capsys.readouterr().out


def test_every_objective_states_its_formula() -> None:
    from heedful.workflows.catalogue import entries

    assert [entry.name for entry in entries() if not re.search(r"[hRSρσπ∫²Σ]", entry.formula)] == []


def test_an_objective_of_the_users_own_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from heedful.objectives.views import Pairs\n\n"
        'def hinge(pairs: Pairs, *, gap: float = 1.0):\n    """Hinge.\n\n    gap: larger asks more.\n    """\n'
        "    return (gap - pairs.margin).clamp(min=0)\n"
    )
    assert root.main(["objectives", f"{file}:hinge"]) == 0
    shown = capsys.readouterr().out
    assert "preference pairs" in shown
    assert "a reference model" in shown
    assert "objective.gap (default 1.0): larger asks more." in shown


def test_train_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from heedful.config import TrainConfig

    assert root.main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in TrainConfig.model_fields if f"  {name} (" not in shown] == []
