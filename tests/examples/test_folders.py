"""Folders of files, cloned data set repositories, and folders that save_to_disk wrote.  No network anywhere."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from heedful.examples import load, load_with_report
from heedful.examples.folders import choose_split, files_of
from heedful.types import UserError
from tests.examples.makers import write_rows


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a local path touched the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows(name: str, count: int = 2) -> list[dict[str, str]]:
    return [{"prompt": f"{name} {i}", "completion": "c"} for i in range(count)]


def prompts(where: object, split: str = "train") -> list[str]:
    return [example.prompt[0].content for example in load(str(where), split=split)]


def test_files_are_read_in_order_of_name_with_their_own_readers(tmp_path: Path) -> None:
    write_rows(tmp_path / "b.jsonl", rows("b", 1))
    write_rows(tmp_path / "a" / "x.jsonl", [{"instruction": "do", "output": "done"}])
    write_rows(tmp_path / ".git" / "x.jsonl", rows("hidden"))
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "dataset_infos.json").write_text("{}")
    examples, report = load_with_report(str(tmp_path))
    assert [example.prompt[0].content for example in examples] == ["do", "b 0"]
    assert report.sources[0].readers == ["alpaca", "prompt-completion"]


def test_splits_by_the_words_in_a_path(tmp_path: Path) -> None:
    write_rows(tmp_path / "data" / "train-00000-of-00002.jsonl", rows("first"))
    write_rows(tmp_path / "data" / "train-00001-of-00002.jsonl", rows("second"))
    write_rows(tmp_path / "data" / "validation-00000-of-00001.jsonl", rows("val"))
    write_rows(tmp_path / "data" / "test-00000-of-00001.jsonl", rows("test"))
    assert prompts(tmp_path) == ["first 0", "first 1", "second 0", "second 1"]
    assert prompts(tmp_path, "eval") == ["val 0", "val 1"]
    assert prompts(tmp_path, "test") == ["test 0", "test 1"]
    assert prompts(f"{tmp_path}#test") == ["test 0", "test 1"]
    with pytest.raises(UserError, match=r"no split 'tets'; did you mean test\?"):
        prompts(f"{tmp_path}#tets")


def test_files_that_name_no_split_are_for_training_beside_those_that_do(tmp_path: Path) -> None:
    write_rows(tmp_path / "dev.jsonl", rows("dev"))
    write_rows(tmp_path / "contest.jsonl", rows("contest"))  # holds the letters of `test`, not the word
    assert prompts(tmp_path) == ["contest 0", "contest 1"]
    assert prompts(tmp_path, "eval") == ["dev 0", "dev 1"]


def test_a_folder_without_splits_is_read_whole_whatever_is_asked(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", rows("a"))
    assert prompts(tmp_path, "eval") == prompts(tmp_path, "train") == ["a 0", "a 1"]


def test_a_single_split_is_read_and_noted(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine-test.jsonl", rows("a"))
    _, report = load_with_report(str(tmp_path))
    assert "no train split; its only split, test, is read" in (report.sources[0].note or "")


def test_the_readme_of_a_cloned_repository_says_which_files_are_which(tmp_path: Path) -> None:
    write_rows(tmp_path / "x" / "one.jsonl", rows("one"))
    write_rows(tmp_path / "x" / "two.jsonl", rows("two"))
    write_rows(tmp_path / "other.jsonl", rows("other"))
    header = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: x/two.jsonl}\n"
    (tmp_path / "README.md").write_text(header + "  - {split: test, path: [x/o*.jsonl]}\n---\n# About\n")
    assert prompts(tmp_path) == ["two 0", "two 1"]
    assert prompts(tmp_path, "eval") == ["one 0", "one 1"]
    (tmp_path / "x" / "two.jsonl").unlink()
    with pytest.raises(UserError, match=r"README\.md names 'x/two\.jsonl' for its train split; no such file"):
        prompts(tmp_path)


def test_several_configurations_without_a_default_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", rows("a"))
    configs = "- {config_name: one, data_files: a.jsonl}\n- {config_name: two, data_files: a.jsonl}\n"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(UserError, match="configurations one, two and no default"):
        prompts(tmp_path)


def test_a_pointer_in_a_clone_is_refused_by_name(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
    write_rows(tmp_path / "train.jsonl", []).write_text(pointer)
    with pytest.raises(UserError, match=r"train\.jsonl is only a git-LFS pointer"):
        prompts(tmp_path)


def test_a_folder_of_sources_is_documents(tmp_path: Path) -> None:
    (tmp_path / "pkg" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pkg" / "b.py").write_text("b = 1\n")
    (tmp_path / "pkg" / "bad.py").write_bytes(b"\xff\xfe")
    (tmp_path / "pkg" / "__pycache__" / "b.py").write_text("cached")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    examples, report = load_with_report(str(tmp_path))
    assert [example.responses[0].text for example in examples] == ["hello", "b = 1\n"]
    assert report.sources[0].dropped == {"a file that is not UTF-8 text": 1}
    assert (report.sources[0].rows, report.sources[0].examples) == (3, 2)


def test_the_text_reader_takes_documents_beside_data(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", rows("a"))
    (tmp_path / "b.py").write_text("b = 1\n")
    assert [example.responses[0].text for example in load(f"text::{tmp_path}")] == ["b = 1\n"]


def test_saved_data_sets(tmp_path: Path) -> None:
    import datasets

    train, test = datasets.Dataset.from_list(rows("train")), datasets.Dataset.from_list(rows("test"))
    train.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(train=train, test_prefs=test).save_to_disk(str(tmp_path / "both"))
    assert prompts(tmp_path / "one") == prompts(tmp_path / "both") == ["train 0", "train 1"]
    assert prompts(tmp_path / "both", "eval") == ["test 0", "test 1"]
    assert load(f"{tmp_path}/one")[1].origin == f"{tmp_path}/one: row 2"


def test_choose_split() -> None:
    assert choose_split(["train_prefs", "test_prefs"], "train", "d") == ("train_prefs", None)
    assert choose_split(["train", "train_extra"], "train", "d") == ("train", None)
    assert choose_split(["test", "validation"], "eval", "d") == ("validation", None)
    with pytest.raises(UserError, match="name one: d#train_sft or d#train_prefs"):
        choose_split(["train_sft", "train_prefs"], "train", "d")
    with pytest.raises(UserError, match="no split 'eval'; it has a, b"):
        choose_split(["a", "b"], "eval", "d")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no data files"):
        files_of(tmp_path, "train")
