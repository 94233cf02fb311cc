"""Functions in files of the user's own: found, run once, told apart, and refused in sentences."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from heedful.examples import load
from heedful.objectives import get as get_objective
from heedful.scorers import get as get_scorer
from heedful.types import UserError
from heedful.user_file import names_file, user_function

SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Kept:
    """A dataclass with annotations that are text needs its module to be known."""
    number: int

def keep(number=3):
    return Kept(number)

def other(a, b, *, c=1):
    return a + b + c

number = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_file_is_run_once_and_again_when_it_has_changed(file: Path) -> None:
    function = user_function(f"{file}:keep", "objective")
    assert user_function(f"{file}:keep", "scorer") is function
    file.write_text(SOURCE.replace("number=3", "number=4"))
    assert user_function(f"{file}:keep", "objective")().number == 4


def test_what_it_defines_pickles(file: Path) -> None:
    kept = user_function(f"{file}:keep", "objective")()
    assert pickle.loads(pickle.dumps(kept)) == kept


@pytest.mark.processes
def test_what_it_defines_works_in_spawned_processes(file: Path) -> None:
    function = user_function(f"{file}:keep", "objective")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(function, (7,)).number == 7


def test_two_files_of_one_name_are_two_modules(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "mine.py"
    twin.write_text(SOURCE.replace("number=3", "number=5"))
    first, second = user_function(f"{file}:keep", "objective"), user_function(f"{twin}:keep", "objective")
    assert (first().number, second().number) == (3, 5)
    assert pickle.loads(pickle.dumps(second())) == second()


def test_a_file_may_import_its_neighbours_but_not_replace_a_library(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("NUMBER = 11\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')\n")
    (tmp_path / "mine.py").write_text(
        "import json\nfrom neighbour_of_mine import NUMBER\ndef f(): return json.dumps(NUMBER)\n"
    )
    assert user_function(f"{tmp_path}/mine.py:f", "scorer")() == "11"


@pytest.mark.parametrize("name", ["v1.0 of mine/my-loss.py", "my.loss.py", "größe/verlust__2.py"])
def test_names_with_dots_spaces_and_letters(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(SOURCE)
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = user_function(f"~/{name}:keep", "objective")()
    assert pickle.loads(pickle.dumps(kept)).number == 3
    assert not (tmp_path / name).with_name("__pycache__").exists()


@pytest.mark.parametrize(("spec", "yes"), [("a.py:f", True), ("a.py", True), ("dpo", False), ("org/name", False)])
def test_names_of_files(spec: str, yes: bool) -> None:
    assert names_file(spec) is yes


MISTAKES = {
    "no file": ("nowhere.py:f", "", r"the view nowhere\.py:f: there is no file nowhere\.py\.$"),
    "no function named": ("mine.py", "", r"mine\.py: name the function too, as in mine\.py:my_view"),
    "no name": ("mine.py:", "", r"must be named path/to/file\.py:function, as in my\.py:my_view"),
    "not a name": ("mine.py:a b", "", r"must be named path/to/file\.py:function"),
    "a typing mistake": (
        "mine.py:kep",
        SOURCE,
        r"mine\.py has no function 'kep'; did you mean keep\? it has keep, other",
    ),
    "nothing near": ("mine.py:zzz", SOURCE, r"mine\.py has no function 'zzz'; it has keep, other\.$"),
    "not a function": ("mine.py:number", SOURCE, r"has no function 'number'; it has keep, other\.$"),
    "none at all": ("mine.py:f", "x = 1\n", r"has no function 'f'; it has none\.$"),
    "an import": (
        "mine.py:f",
        "\nimport nothing_of_that_name\n",
        r"No module named 'nothing_of_that_name' \(line 2 of mine",
    ),
    "a fault inside": (
        "mine.py:f",
        "def g():\n    return 1 / 0\n\nx = g()\n",
        r"ZeroDivisionError: division by zero \(line 2 of mine\.py\)",
    ),
    "no Python": ("mine.py:f", "x = 1\ndef f(:\n", r"SyntaxError.*\(line 2 of mine\.py\)"),
    "an exit": (
        "mine.py:f",
        "import sys\nsys.exit(1)\n",
        r"ends Python when it is imported \(line 2 of mine\.py\); put what",
    ),
    "a signature": (
        "mine.py:other",
        SOURCE,
        r"the view mine\.py:other must take \(examples\), and takes \(a, b, c\)\.$",
    ),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_one_sentence(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, text, says = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(text)
    with pytest.raises(UserError, match=says) as refusal:
        user_function(spec, "view", takes=("examples",))
    assert "\n" not in str(refusal.value)


def _reader(spec: str) -> object:
    return load("x", readers=[spec])


def test_an_objective_is_a_function(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Loss:\n    def __call__(self, pairs): return pairs\nloss = Loss()\n")
    with pytest.raises(UserError, match="must be a function written with def, not a Loss"):
        get_objective(f"{tmp_path}/mine.py:loss")


@pytest.mark.parametrize(("find", "what"), [(get_objective, "objective"), (get_scorer, "scorer"), (_reader, "reader")])
def test_all_that_users_write_is_found_and_refused_alike(
    find: Callable[[str], object], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"the {what} none.py:f: there is no file none.py"):
        find("none.py:f")
    Path("mine.py").write_text("import sys\nsys.exit()\n")
    with pytest.raises(UserError, match=r"mine\.py ends Python when it is imported"):
        find("mine.py:f")
    Path("mine.py").write_text("def f(*, needed):\n    pass\n")
    with pytest.raises(UserError, match=r"mine\.py"):
        find("mine.py:f")
