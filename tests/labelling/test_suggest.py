"""A reward model's scores as suggestions, the order of work that they give, and the file that a run is trained on."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from sqlalchemy import select

from heedful.config import TrainConfig
from heedful.labelling import work
from heedful.labelling.events import verify
from heedful.labelling.formats.examples import from_example
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.tables import item, suggestion
from heedful.scorers import get
from heedful.types import Example, Message, Response, UserError
from heedful.workflows.labels import suggest, with_labels
from tests.labelling.conftest import answered, better, make_project, person

LENGTHS = {"far": (3, 9), "near": (5, 4), "same": (6, 6), "three": (2, 9, 8)}


def make(db, **settings):
    """Items whose responses have so many characters, the second's other letters keeping them apart."""
    texts = {name: [letter * n for letter, n in zip("abc", given, strict=False)] for name, given in LENGTHS.items()}
    items = [
        NewItem([Message("user", name)], [NewResponse([Message("assistant", text)]) for text in given], name)
        for name, given in texts.items()
        if len(given) == 2 or "ranking" in settings.get("questions", {})
    ]
    make_project(db, new_items=items, **settings)


def stored(db) -> dict:
    with db.read() as connection:
        asked = select(item.c.external_id, suggestion.c.value, suggestion.c.score, suggestion.c.agent, item.c.priority)
        return {row.external_id: row for row in connection.execute(asked.join(item, item.c.id == suggestion.c.item_id))}


def test_the_unsure_ones_come_first(sqlite):
    make(sqlite, assign="priority")
    scorer = get("length")
    apart = [scorer.reward(score) for score in scorer(["", ""], ["aaa", "bbbbbbbbb"])]
    said = []
    assert suggest(sqlite, "p", scorer, "length", echo=said.append) == 3
    assert said == []
    found = stored(sqlite)
    longer = "r1" if apart[1] > apart[0] else "r0"
    assert found["far"].value["preference"] == {"winner": longer}
    assert found["far"].score == pytest.approx(1 / (1 + math.exp(-abs(apart[1] - apart[0]))))
    assert found["same"].value["preference"]["winner"] is None
    assert found["same"].value["ranking"] == {"ranks": {"r0": 1, "r1": 1}}
    assert (found["same"].score, found["same"].priority) == (0.5, 1.0)
    assert found["same"].priority > found["near"].priority > found["far"].priority
    who = person(sqlite, "ann", member="annotator")
    given = []
    while (task := work.claim(sqlite, who, "p")) is not None:
        given.append(task.prompt[0]["content"])
        work.submit(sqlite, who, task.slot, task.lease_token, f"k{len(given)}", better("r0"))
    assert given == ["same", "near", "far"]


def test_again_replaces_and_only_what_is_open(sqlite):
    make(sqlite, overlap=1)
    who = person(sqlite, "ann", member="annotator")
    said = []
    suggest(sqlite, "p", get("length"), "length", echo=said.append)
    assert said == ["The project gives work out in another order than by priority: set assign to priority to use it."]
    task = work.claim(sqlite, who, "p")
    assert task is not None
    work.submit(sqlite, who, task.slot, task.lease_token, "k", better("r0"))
    assert suggest(sqlite, "p", get("length"), "length", echo=said.append) == 2
    assert len(stored(sqlite)) == 2
    with sqlite.read() as connection:
        assert verify(connection)[1] is None


def test_of_several_the_two_best_count(sqlite):
    make(sqlite, questions={"ranking": {}}, assign="priority")
    scorer = get("length")
    suggest(sqlite, "p", scorer, "length", echo=lambda line: None)
    found = stored(sqlite)["three"]
    assert sorted(found.value["ranking"]["ranks"].values()) == [1, 2, 3]
    assert found.score >= 0.5
    assert "preference" not in found.value
    given = sorted(found.value["scores"].values(), reverse=True)
    assert found.score == pytest.approx(1 / (1 + math.exp(given[1] - given[0])))


def test_the_manifest_of_what_a_run_is_trained_on_is_of_that_file(sqlite, tmp_path, monkeypatch):
    make(sqlite)
    answered(sqlite, "ann", [better("r0"), better("r1"), {"preference": {"winner": None, "outcome": "tie"}}])
    monkeypatch.setenv("HEEDFUL_LABELS", str(sqlite.url.database))
    asked = TrainConfig(objective="dpo", data="label:p", model="m", out=str(tmp_path / "runs" / "one"))
    config = with_labels(asked, [].append)
    [file] = (tmp_path / "runs" / "labels").glob("*.jsonl")
    manifest = json.loads(file.with_suffix(".manifest.json").read_text())
    assert config.data == str(file)
    assert len(file.read_text().splitlines()) == 2
    assert manifest["rows"] == {"train": 2, "held_out": 0}
    assert manifest["sha256"]["train"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["items"] == {"in": 3, "out": 2}
    assert manifest["left_out"]["nothing was decided on it"] == 1


def test_labels_that_the_data_brought_are_not_taken_for_what_people_decided(sqlite, tmp_path, monkeypatch):
    def judged(number: int) -> Example:
        answers = [Response([Message("assistant", f"{word} {number}")], safe=word == "yes") for word in ("yes", "no")]
        return Example([Message("user", f"Question {number}?")], answers, better=0, safer=0, id=f"e{number}")

    make_project(sqlite, new_items=[from_example(judged(number)) for number in range(3)])
    monkeypatch.setenv("HEEDFUL_LABELS", str(sqlite.url.database))
    asked = TrainConfig(objective="dpo", data="label:p", model="m", out=str(tmp_path / "runs" / "one"))
    with pytest.raises(UserError, match="nothing is decided yet"):
        with_labels(asked, [].append)
    answered(sqlite, "ann", [better("r1")])
    with_labels(asked, [].append)
    [file] = (tmp_path / "runs" / "labels").glob("*.jsonl")
    [row] = map(json.loads, file.read_text().splitlines())
    assert (row["better"], row["safer"]) == (1, 0)
    assert row["extra"]["labelling"]["decided"] == ["preference"]
