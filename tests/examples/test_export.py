"""Exports have exactly the columns TRL documents, and are read back as what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.examples import export, load, load_with_report, to_demonstrations, to_pairs, to_singles
from heedful.examples.rows import rows_of
from heedful.types import Example, Response, UserError
from tests.examples.makers import assistant, pair, single, text, user

CHAT = [
    pair("q1", "good", "bad", margin=0.5, strength=1.0, extra={"k": 1}),
    Example(
        [user("a"), assistant("b"), user("c")], [Response([assistant("bad")]), Response([assistant("good")])], better=1
    ),
]
PLAIN = [Example([text("The sky is")], [Response([text(" blue.")]), Response([text(" green.")])], better=0)]


def written(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in rows_of(path)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize(
    ("kind", "columns", "count"),
    [
        ("language-modeling", ["messages"], 2),
        ("prompt-only", ["prompt"], 2),
        ("prompt-completion", ["prompt", "completion"], 2),
        ("preference", ["prompt", "chosen", "rejected"], 2),
        ("unpaired", ["prompt", "completion", "label"], 4),
    ],
)
def test_conversational(tmp_path: Path, kind: str, columns: list[str], count: int, name: str) -> None:
    done = export(CHAT, tmp_path / name, kind)
    rows = written(tmp_path / name)
    assert done.rows == len(rows) == count
    assert [list(row) for row in rows] == [columns] * count
    for row in rows:
        for column in set(columns) - {"label"}:
            assert all(list(turn) == ["role", "content"] for turn in row[column])
        if "completion" in row or "chosen" in row:
            assert row["prompt"][-1]["role"] == "user"
    _, report = load_with_report(str(tmp_path / name))
    assert report.sources[0].readers == [kind]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("language-modeling", [{"text": "The sky is blue."}]),
        ("prompt-only", [{"prompt": "The sky is"}]),
        ("prompt-completion", [{"prompt": "The sky is", "completion": " blue."}]),
        ("preference", [{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}]),
        (
            "unpaired",
            [
                {"prompt": "The sky is", "completion": " blue.", "label": True},
                {"prompt": "The sky is", "completion": " green.", "label": False},
            ],
        ),
    ],
)
def test_standard(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    export(PLAIN, tmp_path / "a.jsonl", kind)
    assert written(tmp_path / "a.jsonl") == rows


@pytest.mark.parametrize("data", [CHAT, PLAIN])
def test_read_back(tmp_path: Path, data: list[Example]) -> None:
    def said(examples: list[Example]) -> list[Any]:
        return [
            (
                example.prompt,
                [(response.messages, response.desirable) for response in example.responses],
                example.better,
            )
            for example in examples
        ]

    path = str(tmp_path / "a.jsonl")
    export(data, path, "preference")
    assert said(load(path)) == said(to_pairs(data).examples)
    export(data, path, "prompt-completion")
    assert said(load(path)) == said(to_demonstrations(data).examples)
    export(data, path, "unpaired")
    singles = [
        Example(example.prompt, [response]) for example in to_singles(data).examples for response in example.responses
    ]
    assert said(load(path)) == said(singles)
    export(data, path)
    assert said(load(path)) == said(data)


def test_margin_is_written_only_when_asked_for(tmp_path: Path) -> None:
    export(CHAT[:1], tmp_path / "a.jsonl", "preference", margin=True)
    assert written(tmp_path / "a.jsonl")[0]["margin"] == 0.5
    with pytest.raises(UserError, match=r"the pair at None has none"):
        export(CHAT, tmp_path / "a.jsonl", "preference", margin=True)
    with pytest.raises(UserError, match="'unpaired' is none"):
        export(CHAT, tmp_path / "a.jsonl", "unpaired", margin=True)


def test_what_cannot_be_exported_is_counted(tmp_path: Path) -> None:
    done = export([*CHAT, single("q")], tmp_path / "a.jsonl", "preference")
    assert (done.rows, [dropped.reason for dropped in done.dropped]) == (2, ["one response: nothing to compare"])
    document = Example([], [Response([text("doc")])])
    with pytest.raises(UserError, match="nothing can be written as 'prompt-only': no prompt"):
        export([document], tmp_path / "b.jsonl", "prompt-only")
    assert not (tmp_path / "b.jsonl").exists()


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"partly chat \(pairs.jsonl:q1\) and partly plain text \(None\)"):
        export([*CHAT, *PLAIN], tmp_path / "a.jsonl", "preference")
    with pytest.raises(UserError, match=r"'preferences'; did you mean preference\?"):
        export(CHAT, tmp_path / "a.jsonl", "preferences")
    with pytest.raises(UserError, match="must end in"):
        export(CHAT, tmp_path / "a.txt", "preference")
    assert list(tmp_path.iterdir()) == []


def test_unicode_is_written_as_itself(tmp_path: Path) -> None:
    export([single("ü☃", "ß")], tmp_path / "a.jsonl", "prompt-completion")
    assert "ü☃" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))["prompt"][0]["content"] == "ü☃"
