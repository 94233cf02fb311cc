"""The recipes of `heed score`: raw text to corpora in the rows that were published, and a run on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heedful import recipes
from heedful.cli.root import main
from heedful.config import read_yaml
from heedful.examples import load
from heedful.scorers import get
from heedful.scorers.documents import Judgement, judge_documents, split_of
from tests.fakes import save_tiny_model
from tests.scorers.tiny import save_classifier

PROSE = [f"Write to person{i}@example.org. Nothing else is said here, {i} times. The end." for i in range(12)]
CODE = [f"import os\n\n\ndef f{i}(a,b):\n    return a+{i}\n" for i in range(12)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder, texts in (("pile", PROSE), ("code", CODE)):
        (tmp_path / folder).mkdir()
        lines = [json.dumps({"text": text, "meta": {"pile_set_name": "made"}}) for text in texts]
        (tmp_path / folder / "00.jsonl").write_text("\n".join(lines) + "\n")
    labels = {0: "obscene", 1: "toxicity"}
    save_classifier(tmp_path / "classifier", "roberta", 2, id2label=labels, problem_type="multi_label_classification")
    save_tiny_model(tmp_path / "model")
    return tmp_path


def test_each_annotated_corpus_has_one() -> None:
    assert recipes.scorings() == ["score/pep8", "score/pii", "score/toxicity"]
    scorers = {name: read_yaml(recipes.scoring_path(name))["scorer"] for name in recipes.scorings()}
    assert scorers == {"score/pep8": "pep8", "score/pii": "pii:scrubadub", "score/toxicity": "toxicity:original"}


@pytest.mark.parametrize(
    ("name", "data", "scorer", "split"),
    [
        ("toxicity", "pile", "toxicity:classifier", "sentences"),
        ("pii", "pile", "pii", "sentences"),
        ("pep8", "code", None, "lines"),
    ],
)
def test_raw_text_becomes_published_rows_that_a_recipe_trains_on(
    place: Path, name: str, data: str, scorer: str | None, split: str
) -> None:
    own = [] if scorer is None else [f"scorer={scorer}"]
    assert main(["score", "--config", f"score/{name}", *own, f"data={data}", f"out=scored/{name}"]) == 0
    [part] = (place / "scored" / name).glob("part-*.jsonl")
    rows = [json.loads(line) for line in part.read_text().splitlines()]
    texts = PROSE if data == "pile" else CODE
    assert ["".join(row["texts"]) for row in rows] == texts
    assert [row["texts"] for row in rows] == [split_of(text, split) for text in texts]  # type: ignore[arg-type]
    wanted = judge_documents(get(scorer or name), texts, split)  # type: ignore[arg-type]
    for row, judgement in zip(rows, wanted, strict=True):
        assert isinstance(judgement, Judgement)
        assert row["scores"] == pytest.approx([span.score for span in judgement.spans], abs=1e-6)
        # the published score of a document: the unweighted mean of its pieces
        assert row["avg_score"] == pytest.approx(sum(row["scores"]) / len(row["scores"]))
        assert row["avg_score"] > 0
    found = load(f"scored/{name}", reader="scored")
    assert [example.responses[0].cost for example in found] == [row["avg_score"] for row in rows]
    assert [[span.score for span in e.responses[0].spans] for e in found] == [row["scores"] for row in rows]
    small = ["model=model", f"data=scored/{name}", "steps=1", "batch_size=4", "max_length=24", "dtype=fp32", "warmup=0"]
    small += ["device=cpu", "watch=null", "threads=1", "tokens_per_pack=200", "checkpoint_every=null", "out=run"]
    assert main(["train", "conditional", f"phf/{name}/pretrain/conditional", *small]) == 0


def test_by_hand(place: Path) -> None:
    """E231 once and E225 never: `def f0(a,b):` has a blank too few in 13 characters, its newline included."""
    assert main(["score", "--config", "score/pep8", "data=code", "out=scored"]) == 0
    first = json.loads((place / "scored" / "part-00000.jsonl").read_text().splitlines()[0])
    assert first["texts"] == ["import os\n", "\n", "\n", "def f0(a,b):\n", "    return a+0\n"]
    assert first["scores"] == [0, 0, 0, 1 / 13, 0]
    assert first["avg_score"] == pytest.approx(1 / 65)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--config", "score/pep9", "data=code", "out=x"],
            "score/pep9: no recipe scores that; did you mean score/pep8",
        ),
        (["--config", "score/pep8", "out=x"], "data is missing"),
        (["--config", "score/pep8", "data=code", "out=x", "rows=lines"], "must be spans or pieces"),
        (["pep8", "data=code", "out=x", "--device", "cpu"], "write device=cpu for --device cpu"),
    ],
)
def test_mistakes_are_told(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert main(["score", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_it_is_no_recipe_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mle", "score/pep8", "model=m"]) == 2
    assert "score/pep8 is a recipe for scores: heed score --config score/pep8 data=" in capsys.readouterr().err
    assert main(["recipes", "score"]) == 0
    assert "score/toxicity" in capsys.readouterr().out
    assert main(["recipes", "score/pii"]) == 0
    assert "scorer: pii:scrubadub" in capsys.readouterr().out
