"""`heed data prepare`, on small files in the published schema of each data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.cli.root import main
from heedful.examples import read_jsonl
from heedful.recipes import preparations
from heedful.scorers.tfidf import load
from heedful.types import Example, Message, UserError
from heedful.workflows.preparations import PREPARATIONS
from heedful.workflows.prepare import prepare
from tests.examples.makers import assistant, text, user
from tests.fakes import save_tiny_model
from tests.workflows.published import put, write_published


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all published files, and `tokenizer`, which knows bytes."""
    raw = write_published(tmp_path_factory.mktemp("raw"))
    save_tiny_model(raw / "tokenizer")
    return raw


def made(raw: Path, out: Path, recipe: str, *words: str) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """The parts that a preparation wrote, and its report."""
    folder = prepare(recipe, [f"raw={raw}", f"out={out}", *words], echo=lambda line: None)
    parts = {path.name.removesuffix(".jsonl.gz"): read_jsonl(path) for path in folder.glob("*.jsonl.gz")}
    return parts, json.loads((folder / "report.json").read_text())


def test_every_recipe_for_data_has_its_preparation() -> None:
    assert set(preparations()) == set(PREPARATIONS)


def test_hh_drops_answers_that_break_off_from_train_only(raw: Path, tmp_path: Path) -> None:
    parts, report = made(raw, tmp_path / "hh", "hh")
    assert sorted(parts) == ["test-harmless_base", "train", "train-chosen", "val", "val-chosen"]
    assert [example.prompt[0].content for example in parts["train"]] == ["q0", "q1", "q2", "q3"]
    assert parts["val"][0].responses[0].text == "so:"
    assert [r.reward for r in parts["train"][0].responses] == [1.5, -0.5]
    assert [r.text for e in parts["train-chosen"] for r in e.responses] == [f"good {i}" for i in range(4)]
    train = report["parts"]["train"]
    assert train["dropped"] == {"an answer ends with ':', so it breaks off": 1}
    assert (train["examples"], train["responses"], train["mean_reward"]) == (4, 8, 0.5)


def test_comet(raw: Path, tmp_path: Path) -> None:
    parts, report = made(raw, tmp_path / "comet", "comet", "val=5")
    assert {name: len(examples) for name, examples in parts.items()} == {
        "train": 2,
        "val": 5,
        "test-atomic10x": 1,
        "test": 2,
    }
    assert parts["train"][0].prompt == [text("<head> X0 </head> <relation> xWant </relation> [GEN] ")]
    assert parts["train"][0].responses[0].reward == 0.9
    assert [[r.text for r in e.responses] for e in parts["test"]] == [["one", "two"], ["three"]]
    assert report["parts"]["test"]["dropped"] == {"a relation that ATOMIC10X does not have": 1}
    assert report["parts"]["val"]["dropped"] == {"more than the 5 that are drawn": 4}


def reddit(raw: Path, out: Path, *words: str) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    settings = (f"tokenizer={raw / 'tokenizer'}", "held_out=2", "rows=100", *words)
    return made(raw, out, "reddit", *settings)


def test_reddit_is_cleaned_and_dealt(raw: Path, tmp_path: Path) -> None:
    """Of 16 upvoted rows one has no text, one too many words and one too many tokens; 13 stay, 2 + 2 held out."""
    parts, report = reddit(raw, tmp_path / "reddit")
    assert {name: len(examples) for name, examples in parts.items()} == {
        "pos-train": 9,
        "neg-train": 8,
        "val": 4,
        "test": 4,
    }
    every = {example.id: example for examples in parts.values() for example in examples}
    assert len(every) == 25, "no comment is in two parts"
    assert every["p7"].prompt == [user("parent 7")]
    assert every["p7"].responses[0].messages == [assistant("reply number 7")]
    assert (every["pu"].prompt[0].content, every["pu"].responses[0].text) == ("see <URL>", "see <URL> now")
    assert every["n7"].extra == {"score": "-3", "parent_score": "1"}
    assert report["parts"]["pos-train"]["dropped"] == {
        "the comment or its parent has no text": 1,
        "more than 100 words in the comment or its parent": 1,
        "more than 300 tokens": 1,
    }
    words = load(tmp_path / "reddit" / "tfidf.json")
    assert words.num_texts == 17
    assert words.document_frequency["reply"] >= 16


def test_the_same_seed_gives_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        reddit(raw, tmp_path / name, f"seed={seed}")
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in "abc"]
    assert files[0] == files[1] == files[2]
    same = [
        [(tmp_path / "a" / f).read_bytes() == (tmp_path / other / f).read_bytes() for f in files[0]] for other in "bc"
    ]
    assert all(same[0])
    assert not all(same[1])


def test_wizard_of_wikipedia_without_its_oldest_turns(raw: Path, tmp_path: Path) -> None:
    """30 tokens hold the last turns of the first dialogue; the 90 letters of the second do not fit at all."""
    words = (f"tokenizer={raw / 'tokenizer'}", "max_history=30")
    parts, report = made(raw, tmp_path / "wow", "wow", *words)
    assert [[turn.content for turn in e.prompt] for e in parts["train"]] == [
        ["Knowledge: Tea is known.", "Tea?"],
        ["Knowledge: Tea is known.", "Tea is hot.", "And And And And And"],
    ]
    assert report["parts"]["train"]["dropped"] == {"the turn before it alone has more than 30 tokens": 1}
    assert parts["test"][0].prompt == [Message("system", "Knowledge: Tea is hot."), user("Tea test?")]
    assert load(tmp_path / "wow" / "tfidf.json").num_texts == 3


def test_faithdial_alone_and_with_the_wizard(raw: Path, tmp_path: Path) -> None:
    words = (f"tokenizer={raw / 'tokenizer'}",)
    alone, _ = made(raw, tmp_path / "faithdial", "faithdial", *words)
    both, _ = made(raw, tmp_path / "both", "faithdial_wow", *words)
    assert {name: len(examples) for name, examples in alone.items()} == {"train": 1, "val": 1, "test": 1}
    assert {name: len(examples) for name, examples in both.items()} == {"train": 4, "val": 4, "test": 1}
    assert alone["test"] == both["test"]
    counts = [(tmp_path / name / "tfidf.json").read_bytes() for name in ("faithdial", "both")]
    assert counts[0] == counts[1], "the words are counted in Wizard of Wikipedia, whatever is trained on"


def test_a_folder_that_nobody_named_is_asked_for_with_its_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"raw=FOLDER is missing, the folder .* hh_train_len2/train\.json, from"):
        prepare("hh", [f"out={tmp_path / 'out'}"])


def test_a_missing_file_is_named_with_its_source(raw: Path, tmp_path: Path) -> None:
    sentence = r"hh_train_len2/train\.json is not there; it comes from data\.zip of the PRO .*put it there, or give"
    with pytest.raises(UserError, match=sentence):
        prepare("hh", [f"raw={tmp_path}", f"out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_preparation_that_fails(raw: Path, tmp_path: Path) -> None:
    for name in ("hh_train_len2/train.json", "hh_dev/sampled_dev.json"):
        put(tmp_path / "raw", name, (raw / name).read_text())
    put(tmp_path / "raw", "hh_test/harmless_base.json", '{"prefix": [], "suffix": 3, "reward": []}')
    with pytest.raises(UserError, match=r"harmless_base\.json: row 1: column 'suffix' must be a list"):
        prepare("hh", [f"raw={tmp_path / 'raw'}", f"out={tmp_path / 'out'}"])
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_folder_that_is_there_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        prepare("hh", [f"raw={raw}", f"out={tmp_path}"])


def test_mistyped_names_suggest(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean reddit"):
        prepare("redit", [])
    with pytest.raises(UserError, match=r"max_wrds .*did you mean max_words"):
        prepare("reddit", [f"raw={raw}", f"out={tmp_path / 'out'}", "max_wrds=3"])


def test_the_command_takes_the_recipe_that_trains(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "lol/hh/a_lol", f"raw={raw}", "out=data/hh"]) == 0
    said = capsys.readouterr().out
    assert "train: 4 examples, mean reward 0.500" in said
    assert "left out 1: an answer ends with ':'" in said
    assert main(["data", "prepare", "halos/dpo", "raw=x"]) == 2
    assert "needs no prepared data" in capsys.readouterr().err


DATA = Path(__file__).parents[2].parent / "shared" / "data" / "hh_scored"


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="no real data here")
def test_the_published_pairs(tmp_path: Path) -> None:
    """The public test split as if it were all files: as many rows as the release has, and the ones that break off."""
    raw = tmp_path / "raw"
    for file, source in {
        "hh_train_len2/train.json": "helpful_base",
        "hh_dev/sampled_dev.json": "dev",
        "hh_test/harmless_base.json": "harmless_base",
    }.items():
        (raw / file).parent.mkdir(parents=True)
        (raw / file).symlink_to(DATA / f"{source}.jsonl.gz")
    _, report = made(raw, tmp_path / "out", "hh")
    counts = {name: part["examples"] for name, part in report["parts"].items()}
    assert list(report["parts"]["train"]["dropped"].values()) == [223]
    assert counts["train"] == counts["train-chosen"] == 2354 - 223
    assert (counts["val"], counts["test-harmless_base"]) == (280, 2312)
