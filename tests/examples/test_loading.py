"""From `data=` to Examples: detection, counts, and errors that name the row."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from heedful.examples import LoadReport, load, load_with_report, read
from heedful.examples.loading import read_mixture
from heedful.examples.shape import Dropped
from heedful.types import UserError
from tests.examples.makers import write_rows

GOOD = {"prompt": "p", "chosen": "a", "rejected": "b"}


def test_rows_are_examples_and_drops(tmp_path: Path) -> None:
    good = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    other = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: x\n\nAssistant: c"}
    path = write_rows(tmp_path / "a.jsonl", [good, other, good, other])
    examples, report = load_with_report(str(path))
    (source,) = report.sources
    assert [example.origin for example in examples] == [f"{path}:1", f"{path}:3"]
    assert (source.rows, source.examples, source.dropped.total()) == (4, 2, 2)
    reason = "the two dialogues part before their first answer, so they share no prompt"
    assert source.to_json() == {
        "source": str(path),
        "readers": ["hh-raw"],
        "rows": 4,
        "examples": 2,
        "taken": 2,
        "dropped": {reason: 2},
        "empty_files": [],
        "not_scored": 0,
        "note": None,
    }
    assert report.lines() == [
        f"{path}: 4 rows read as hh-raw, 2 examples",
        f"  dropped 2: {reason} (first at {path}:2)",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "chosen": "a"}, r"a\.jsonl:2: no column 'rejected'; the row has prompt, chosen"),
        ({**GOOD, "rejected": None}, r"a\.jsonl:2: column 'rejected' must be a text or a list of turns, not nothing"),
        ({**GOOD, "margin": "wide"}, r"a\.jsonl:2: column 'margin' must be a number, not 'wide'"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path: Path, row: dict, message: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [GOOD, row])
    with pytest.raises(UserError, match=message):
        load(str(path))


def test_columns_nobody_reads(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"question": "q", "reply": "r"}])
    with pytest.raises(
        UserError, match=r"a\.jsonl:1: no reader reads the columns question, reply; tried heedful: no col"
    ):
        load(str(path))


def test_a_named_reader(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{**GOOD, "instruction": "i", "output": "o"}])
    assert load(str(path))[0].prompt[0].content == "i"  # alpaca is tried before TRL's
    for chosen in (load(str(path), reader="preference"), load(f"preference::{path}")):
        assert chosen[0].prompt[0].content == "p"
    assert [example.prompt for example in read(str(path), reader="preference")] == [chosen[0].prompt]
    with pytest.raises(UserError, match=r"no reader is called 'prefrence'; did you mean preference\?"):
        load(str(path), reader="prefrence")


def test_half_a_character_is_dropped_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "completion": "\\ud83d"}\n{"prompt": "p", "completion": "\\ud83d\\ude00"}\n')
    examples, report = load_with_report(str(path))
    assert [example.responses[0].text for example in examples] == ["😀"]
    assert report.sources[0].dropped == {"a text with half a character (a lone surrogate)": 1}


def test_a_source_without_examples(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"a\.jsonl holds no example; it is empty"):
        load(str(tmp_path / "a.jsonl"))
    write_rows(tmp_path / "b.jsonl", [{"messages": [{"role": "user", "content": "a"}]}])
    with pytest.raises(UserError, match=r"holds no example: 1 dropped: a dialogue without an assistant's turn"):
        load(str(tmp_path / "b.jsonl"))


@pytest.mark.parametrize("reader", [None, "text"])
@pytest.mark.parametrize("bad", [3, None, [], {"a": "b"}, True])
def test_a_document_that_is_not_text_is_dropped_where_it_stands(
    tmp_path: Path, bad: object, reader: str | None
) -> None:
    good = {"text": "fine"}
    path = write_rows(tmp_path / "a.jsonl", [{"text": bad}, good, {"text": bad}, good])
    examples, report = load_with_report(str(path), reader=reader)
    assert [(example.responses[0].text, example.origin) for example in examples] == [
        ("fine", f"{path}:2"),
        ("fine", f"{path}:4"),
    ]
    assert report.lines()[1] == f"  dropped 2: a document that is not text (first at {path}:1)"
    path = write_rows(tmp_path / "b.jsonl", [{"text": bad}, {"text": bad}])
    with pytest.raises(UserError, match=r"b\.jsonl holds no example: 2 dropped: a document that is not text"):
        load(str(path), reader=reader)


def _with_empty_shards(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder of five shards, the second and the fourth empty; the files that are."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in (0, 2, 4):
        write_rows(folder / f"{number}.jsonl", [{**GOOD, "prompt": f"p{number}"}])
    (folder / "1.jsonl").write_text("")
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), folder / "3.parquet")
    return folder, [str(folder / "1.jsonl"), str(folder / "3.parquet")]


def test_an_empty_shard_of_a_folder_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    folder, empty = _with_empty_shards(tmp_path)
    examples, report = load_with_report(str(folder))
    assert [example.prompt[0].content for example in examples] == ["p0", "p2", "p4"]
    [source] = report.sources
    assert source.empty_files == source.to_json()["empty_files"] == empty
    assert report.lines() == [
        f"{folder}: 3 rows read as preference, 3 examples",
        f"  warning: 2 empty, without a row: {', '.join(empty)}",
    ]


@pytest.mark.parametrize("share", ["", ":1/2", ":2/-1"])
def test_an_empty_shard_of_a_mixture_is_told_and_the_rest_is_read(tmp_path: Path, share: str) -> None:
    folder, empty = _with_empty_shards(tmp_path)
    data = [f"{empty[0]}{share}", str(folder / "0.jsonl"), f"{empty[1]}{share}", str(folder / "2.jsonl")]
    examples, report = load_with_report(data)
    streamed = LoadReport()
    assert list(read_mixture(data, report=streamed)) == examples
    assert [example.prompt[0].content for example in examples] == ["p0", "p2"]
    for told in (report, streamed):
        assert [source.empty_files for source in told.sources] == [empty[:1], [], empty[1:], []]
        assert [source.taken for source in told.sources] == [0, 1, 0, 1]


def test_nothing_but_empty_shards_is_refused(tmp_path: Path) -> None:
    _, empty = _with_empty_shards(tmp_path)
    for read_all in (load, lambda data: list(read_mixture(data))):
        with pytest.raises(UserError, match=r"1\.jsonl, .*3\.parquet hold no example; every one is empty"):
            read_all(empty)
        with pytest.raises(UserError, match=r"1\.jsonl holds no example; it is empty"):
            read_all(empty[0])


def test_reading_loads_no_torch_and_no_datasets(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [GOOD])
    code = "import sys; from heedful.examples import load; load(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert {"torch", "datasets"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("zipped", [False, True])
def test_a_line_that_is_not_utf8_is_dropped_with_its_place_and_the_rest_is_read(tmp_path: Path, zipped: bool) -> None:
    lines = [json.dumps({"text": f"document {i}"}).encode() for i in range(4)]
    lines[2:2] = [b'{"text": "\xff\xfe"}', b'{"text": "caf\xe9"}']
    content = b"\n".join(lines) + b"\n"
    path = tmp_path / ("a.jsonl.gz" if zipped else "a.jsonl")
    path.write_bytes(gzip.compress(content) if zipped else content)
    examples, report = load_with_report(str(path))
    assert [example.responses[0].text for example in examples] == [f"document {i}" for i in range(4)]
    [source] = report.sources
    assert (source.rows, source.examples) == (6, 4)
    assert source.dropped == {"a line that is not UTF-8 text": 2}
    assert f"  dropped 2: a line that is not UTF-8 text (first at {path}:3)" in report.lines()
    streamed = list(read_mixture(str(path)))
    reason = "a line that is not UTF-8 text"
    assert streamed[2:4] == [Dropped(f"{path}:3", reason), Dropped(f"{path}:4", reason)]
    assert sum(isinstance(one, Dropped) for one in streamed) == 2


def test_a_file_of_nothing_but_such_lines_is_refused_with_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes("zwölf\nCafé\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"holds no example: 2 dropped: a line that is not UTF-8.*a\.jsonl:1"):
        load(str(tmp_path / "a.jsonl"))
