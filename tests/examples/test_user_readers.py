"""Readers that users write."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.examples import load, load_with_report
from heedful.types import Example, UserError
from tests.examples.makers import assistant, user

SOURCE = '''
from heedful.types import Example, Message, Response

def mine(split):
    """Three ways to say a row."""
    yield Example([Message("user", f"{split} 0")], [Response([Message("assistant", "a")])])
    yield {"input": f"{split} 1", "answer": "a", "other_answer": "b", "better": False}
    yield {"prompt": [{"role": "user", "content": f"{split} 2"}], "completion": [{"role": "assistant", "content": "a"}]}

def plain():
    return [{"prompt": "p", "completion": "c"}] * 4

def of_path(path, split="x"):
    yield {"prompt": path, "completion": split}

def broken(split):
    yield {"prompt": "p", "completion": "c"}
    yield {"prompt": "p", "completion": 3}

def strange():
    yield 7

def hungry(split, colour):
    yield {}

def nothing():
    return None

def falls():
    yield {"prompt": "p", "completion": "c"}
    yield {}["gone"]

def alpaca():
    yield {}

number = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "my.py").write_text(SOURCE)
    return str(tmp_path / "my.py")


def test_a_reader_yields_examples_or_rows_and_is_given_the_split(file: str) -> None:
    examples, report = load_with_report("mine", split="test", readers=[f"{file}:mine"])
    assert [example.prompt for example in examples] == [[user(f"test {i}")] for i in range(3)]
    assert examples[1].better == 1
    assert examples[2].responses[0].messages == [assistant("a")]
    assert [example.origin for example in examples] == [f"mine: row {n}" for n in (1, 2, 3)]
    assert report.sources[0].readers == ["mine"]


def test_split_and_path_are_given_only_to_who_has_a_parameter_for_them(file: str) -> None:
    readers = [f"{file}:plain", f"{file}:of_path"]
    assert len(load("plain:0.5", readers=readers)) == 2
    (example,) = load("of_path::/d/2024:x", split="eval", readers=readers)
    assert (example.prompt[0].content, example.responses[0].text) == ("/d/2024:x", "eval")
    with pytest.raises(UserError, match="has no parameter 'path'"):
        load("plain:1:/d", readers=readers)


def test_a_user_reader_in_a_mixture(file: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "completion": "y"}\n')
    examples = load(["plain:2", str(tmp_path / "a.jsonl")], readers=[f"{file}:plain"])
    assert [example.prompt[0].content for example in examples] == ["p"] * 8 + ["x"]
    assert all(isinstance(example, Example) for example in examples)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ("broken", r"broken: row 2: column 'completion' must be a text or a list of turns, not a number"),
        ("strange", r"strange: row 1: a reader must yield Examples or rows \(mappings\), not a number"),
        ("hungry", r"needs 'colour'; a reader is given 'split' and 'path' only"),
        ("nothing", r"must yield examples or rows, and returned nothing"),
        ("minne", r"has no function 'minne'; did you mean mine\?"),
        ("number", r"has no function 'number'"),
        ("falls", r"my\.py:falls failed: KeyError: 'gone' \(line \d+ of .*my\.py\)"),
        ("alpaca", r"there is a reader 'alpaca' already; rename the function"),
    ],
)
def test_readers_that_do_not_work(file: str, reader: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(reader, readers=[f"{file}:{reader}"])


def test_files_that_do_not_work(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(UserError, match=r"bad\.py cannot be imported: ModuleNotFoundError"):
        load("x", readers=[f"{tmp_path}/bad.py:x"])
    with pytest.raises(UserError, match="there is no file"):
        load("x", readers=[f"{tmp_path}/none.py:x"])
    with pytest.raises(UserError, match="name the function too"):
        load("x", readers=["my.py"])
