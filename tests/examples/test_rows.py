"""Files to rows: every format, and every way in which a file can be broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from heedful.examples.rows import rows_of
from heedful.types import UserError
from tests.examples.makers import write_rows

ROWS = [{"prompt": "a", "completion": "b"}, {"prompt": "ü", "completion": ""}]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    lines = write_rows(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "c.json").write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    (tmp_path / "d.json").write_bytes(lines.read_bytes())  # JSON lines under the wrong name
    (tmp_path / "e.csv").write_text('prompt,completion\na,b\nü,""\n', encoding="utf-8")
    (tmp_path / "f.tsv").write_text("prompt\tcompletion\na\tb\nü\t\n", encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "g.parquet")
    (tmp_path / "h.JSONL").write_bytes(b"\xef\xbb\xbf" + lines.read_bytes())  # a byte order mark
    for path in sorted(tmp_path.iterdir()):
        assert [row for _, row in rows_of(path)] == ROWS, path.name


def test_origins_count_lines_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\n\n{"x": 2}\n')
    assert [origin for origin, _ in rows_of(path)] == [f"{path}:1", f"{path}:3"]
    table = tmp_path / "b.csv"
    table.write_text('x\n"two\nlines"\nlast\n')
    assert list(rows_of(table)) == [(f"{table}:2", {"x": "two\nlines"}), (f"{table}:4", {"x": "last"})]
    listed = tmp_path / "c.json"
    listed.write_text('[{"x": 1}]')
    assert [origin for origin, _ in rows_of(listed)] == [f"{listed}: row 1"]


def test_any_other_file_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("x = 1\n")
    assert list(rows_of(path)) == [(str(path), {"text": b"x = 1\n"})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"x": 1}\n{"x": \n', r"a\.jsonl:2: not valid JSON \(Expecting value, column"),
        ("a.jsonl", b'{"x": 1}\n[1]\n', r"a\.jsonl:2: a row must be a JSON object with columns, this is a list"),
        ("a.jsonl", b'{"x": 1}\n{"x": "\xff"}\n', r"a\.jsonl:2: not UTF-8 text \(byte 7 is 0xff\)"),
        ("a.json", b'[{"x": 1},\n {"x": }]', r"a\.json:2: not valid JSON"),
        ("a.json", b"[" * 100_000, r"a\.json: JSON nested too deeply"),
        ("a.jsonl", b'{"x": ' + b"1" * 5000 + b"}", r"a\.jsonl:1: not valid JSON \(Exceeds the limit"),
        ("a.json", b'["x"]', r"a\.json: row 1: a row must be a JSON object with columns, this is a string"),
        ("a.csv", b"x,y\n1,2\n1,2,3\n", r"a\.csv:3: the row does not have the header's 2 fields"),
        ("a.csv", b"x,y\n1\n", r"a\.csv:2: the row does not have"),
        ("a.parquet", b"PAR1 nothing", r"a\.parquet: not a readable Parquet file"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"x": 1}\n' * 999, mtime=0)[:-9],
            r"a\.jsonl\.gz: the gzip file is damaged or cut short",
        ),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            r"a\.jsonl is only a git-LFS pointer",
        ),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.jsonl", b'{"x": ' + b"[" * 100_000 + b"\n", r"a\.jsonl:1: (JSON nested too deeply|not valid JSON)"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(rows_of(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl: cannot be read \(No such file"):
        list(rows_of(tmp_path / "a.jsonl"))


def test_only_line_ends_end_the_rows_of_a_table(tmp_path: Path) -> None:
    """Unicode has more of them than CSV."""
    path = tmp_path / "a.csv"
    path.write_text("text\none\u2028two\x85three\x0cfour\nlast\n", encoding="utf-8")
    assert [row["text"] for _, row in rows_of(path)] == ["one\u2028two\x85three\x0cfour", "last"]
