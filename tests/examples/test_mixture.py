"""The grammar of mixtures and the seeded draw, with the values verified on the published code."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.examples import MixtureItem, load, load_with_report, parse_mixture
from heedful.examples.mixture import draw, parse_item
from heedful.types import UserError
from tests.examples.makers import write_rows


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("hh-raw", MixtureItem("hh-raw")),
        ("hh-raw:", MixtureItem("hh-raw")),
        ("hh-raw:0.5", MixtureItem("hh-raw", 0.5)),
        ("hh-raw:.5:/d/a.jsonl", MixtureItem("hh-raw", 0.5, path="/d/a.jsonl")),
        ("hh-raw::/d/a.jsonl", MixtureItem("hh-raw", path="/d/a.jsonl")),
        ("hh-raw:1/4", MixtureItem("hh-raw", 0.25)),
        ("hh-raw:100/-1", MixtureItem("hh-raw", count=100)),
        ("hh-raw:0", MixtureItem("hh-raw", 0.0)),
        ("hh-raw:0/-1", MixtureItem("hh-raw", count=0)),
        ("hh-raw:2.35", MixtureItem("hh-raw", 2.35)),
        ("hh-raw:1e-2", MixtureItem("hh-raw", 0.01)),
        ("org/name@v1#train:0.5", MixtureItem("org/name@v1#train", 0.5)),
        # colons in a path, before and after the proportion
        ("/d/a:b.jsonl", MixtureItem("/d/a:b.jsonl")),
        ("/d/a:b.jsonl:0.5", MixtureItem("/d/a:b.jsonl", 0.5)),
        ("hh-raw::/d/2024:05:a.jsonl", MixtureItem("hh-raw", path="/d/2024:05:a.jsonl")),
        ("hh-raw:3:C:\\d\\a.jsonl", MixtureItem("hh-raw", 3.0, path="C:\\d\\a.jsonl")),
        ("C:\\d\\a.jsonl", MixtureItem("C:\\d\\a.jsonl")),
        ("C:\\d\\a.jsonl:0.5", MixtureItem("C:\\d\\a.jsonl", 0.5)),
        ({"name": "/d/2024:05", "proportion": 0.5}, MixtureItem("/d/2024:05", 0.5)),
        ({"name": "hh-raw", "proportion": "10/-1", "path": "x"}, MixtureItem("hh-raw", count=10, path="x")),
    ],
)
def test_the_grammar(text: object, item: MixtureItem) -> None:
    assert parse_item(text) == item


def test_an_item_that_exists_as_a_whole_is_that_path() -> None:
    assert parse_item("/d/2024:05:06", exists=lambda text: text == "/d/2024:05:06") == MixtureItem("/d/2024:05:06")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("hh-raw:0.5:", "empty PATH"),
        ("hh-raw::", "empty PATH"),
        (":0.5", "no NAME"),
        ("", "must be NAME"),
        (3, "must be NAME"),
        ("hh-raw:-0.5", "0 or more"),
        ("hh-raw:1/0", "finite number, 0 or more"),
        ("hh-raw:1/-2", "0 or more"),
        ("hh-raw:nan", "finite"),
        ("hh-raw:inf", "finite"),
        ("hh-raw:1.5/-1", "whole number"),
        ("hh-raw:-3/-1", "whole number"),
        ({"proportion": 1}, "has a name"),
        ({"name": "a", "share": 1}, "has a name"),
        ({"name": "a", "proportion": "half"}, "'half'"),
        ([], "empty"),
        (["a", "b", "a:2"], "'a' stands in the mixture twice"),
    ],
)
def test_what_the_grammar_refuses(entry: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_mixture(entry)


@given(st.sampled_from(["hh-raw", "org/name", "/d/a.jsonl"]), st.none() | st.just("/x/y.jsonl"), st.integers(0, 99))
def test_an_item_prints_as_it_is_written(name: str, path: str | None, count: int) -> None:
    for item in (MixtureItem(name, count=count, path=path), MixtureItem(name, count / 8, path=path)):
        assert parse_item(str(item)) == item


def test_the_draw_of_the_published_code() -> None:
    """Safe-RLHF, ten items, seed 42."""
    assert draw(10, MixtureItem("a", 0.5), 0, 42).tolist() == [4, 8, 2, 6, 9]
    once = list(range(10))
    assert draw(10, MixtureItem("a", 2.35), 0, 42).tolist() == [*once, *once, 7, 9, 5, 3]


def test_counts_fractions_and_repeats() -> None:
    assert draw(10, MixtureItem("a"), 0, 0).tolist() == list(range(10))
    assert len(draw(10, MixtureItem("a", count=3), 0, 0)) == 3
    assert draw(2, MixtureItem("a", count=4), 0, 0).tolist() == [0, 1, 0, 1]
    assert len(draw(10, MixtureItem("a", 1 / 3), 0, 0)) == 3
    assert draw(10, MixtureItem("a", 0.5), 0, 1).tolist() != draw(10, MixtureItem("a", 0.5), 0, 2).tolist()
    assert draw(10, MixtureItem("a", 0.5), 0, 1).tolist() != draw(10, MixtureItem("a", 0.5), 1, 1).tolist()


def source(path: Path, count: int = 10) -> str:
    return str(write_rows(path, [{"prompt": f"{path.stem}{i}", "completion": "c"} for i in range(count)]))


def test_a_mixture_is_read_in_its_order_and_counted(tmp_path: Path) -> None:
    a, b, c = (source(tmp_path / f"{name}.jsonl") for name in "abc")
    examples, report = load_with_report([f"{a}:0.5", f"prompt-completion:3/-1:{b}", f"{c}:0"], seed=42)
    drawn = [example.prompt[0].content for example in examples]
    assert drawn[:5] == ["a4", "a8", "a2", "a6", "a9"]
    assert len(drawn) == 8
    assert all(prompt.startswith("b") for prompt in drawn[5:])
    assert [(s.rows, s.examples, s.taken) for s in report.sources] == [(10, 10, 5), (10, 10, 3)]
    assert load([f"{a}:0.5", f"prompt-completion:3/-1:{b}"], seed=42) == examples


def test_paths_with_colons_are_read(tmp_path: Path) -> None:
    path = source(tmp_path / "12:30" / "x:2:y.jsonl")
    assert len(load(path)) == len(load(f"prompt-completion::{path}")) == 10
    assert len(load({"name": path, "proportion": 0.5})) == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("aplaca", r"'aplaca' is no file or folder, no reader and no hub name \(org/name\); did you mean alpaca\?"),
        ("alpaca", r"the reader 'alpaca' needs a path: alpaca::PATH"),
        ("alpaca:half", r"'half' in 'alpaca:half' is no proportion .*; for a path after a reader write alpaca::half"),
        ("aplaca:1:x.jsonl", r"NAME must be a reader, and 'aplaca' is none; did you mean alpaca\?"),
        ("nowhere/train.jsonl", r"no file or folder"),
        ("alpaca::nowhere.jsonl", r"no such file or folder: 'nowhere\.jsonl'"),
    ],
)
def test_sources_that_are_not_there(data: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(data)


def test_a_mistyped_path_suggests_its_neighbour(tmp_path: Path) -> None:
    source(tmp_path / "train.jsonl")
    with pytest.raises(UserError, match=r"did you mean train\.jsonl\?"):
        load(str(tmp_path / "trian.jsonl"))


def test_everything_dropped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="proportion 0; nothing is left"):
        load(f"{source(tmp_path / 'a.jsonl')}:0")
