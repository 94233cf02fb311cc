"""Our schema on disk is lossless."""

from __future__ import annotations

import datetime
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples import load, read_jsonl, read_parquet, write_jsonl, write_parquet
from heedful.types import Example, Response, UserError
from tests.examples.makers import assistant, examples, pair, user

WAYS = [
    (write_jsonl, read_jsonl, "a.jsonl"),
    (write_jsonl, read_jsonl, "a.jsonl.gz"),
    (write_parquet, read_parquet, "a.parquet"),
]


@pytest.mark.parametrize(("write", "read", "name"), WAYS)
@settings(deadline=None, max_examples=60)
@given(data=st.lists(examples(), max_size=4))
def test_round_trip(write, read, name: str, data: list[Example]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        assert write(data, path) == len(data)
        assert read(path) == data
        assert [file.name for file in Path(folder).iterdir()] == [name]


@pytest.mark.parametrize(("write", "name"), [(write, name) for write, _, name in WAYS])
def test_what_is_written_is_detected_and_loaded(tmp_path: Path, write, name: str) -> None:
    data = [pair("q", safer=1, strength=2.0, extra={"k": [1]}), Example([user("only")], [], id="7")]
    write(data, tmp_path / name)
    loaded = load(str(tmp_path / name))
    assert loaded[0] == data[0]
    assert loaded[1].origin is not None  # an example without an origin is given that of its row
    loaded[1].origin = None
    assert loaded[1] == data[1]


def test_the_written_row_holds_what_is_set_and_no_more(tmp_path: Path) -> None:
    write_jsonl(
        [Example([user("q")], [Response([assistant("a")], reward=0.0, safe=False)], better=0)], tmp_path / "a.jsonl"
    )
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "prompt": [{"role": "user", "content": "q"}],
        "responses": [{"messages": [{"role": "assistant", "content": "a"}], "reward": 0.0, "safe": False}],
        "better": 0,
    }


def test_the_same_examples_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_jsonl([pair("q")], tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_dates_are_written_as_text(tmp_path: Path) -> None:
    write_jsonl([pair("q", extra={"on": datetime.date(2026, 1, 2)})], tmp_path / "a.jsonl")
    assert read_jsonl(tmp_path / "a.jsonl")[0].extra == {"on": "2026-01-02"}


@pytest.mark.parametrize(("write", "name"), [(write_jsonl, "a.jsonl"), (write_parquet, "a.parquet")])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, write, name: str) -> None:
    write([pair("old")], tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(UserError, match=r"`extra` holds b'raw' \(bytes\)"):
        write([pair("q"), pair("q", extra={"raw": b"raw"})], tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written"):
        write_jsonl([pair("q")], tmp_path / "file" / "a.jsonl")


def test_a_malformed_row_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl([pair("q")], path)
    path.write_text(path.read_text() + '{"prompt": [], "responses": [], "better": 3}\n')
    for read in (read_jsonl, lambda p: load(str(p))):
        with pytest.raises(UserError, match=r"a\.jsonl:2: 'better' is 3, and there are 0 responses"):
            read(path)
