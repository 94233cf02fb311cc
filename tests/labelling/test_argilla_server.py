"""Pulling from and pushing to Argilla by its real SDK, against a server on this machine that is as strict."""

from __future__ import annotations

import pytest
from benchmarks.labelling_projects import free_port
from sqlalchemy import select

from heedful.cli.root import main
from heedful.labelling import versions
from heedful.labelling.consensus import gather
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.projects import get_project
from heedful.labelling.questions import Questions
from heedful.labelling.settings import ProjectSettings
from heedful.labelling.tables import skip
from heedful.types import Message
from tests.labelling.argilla_stub import Stub, running
from tests.labelling.conftest import answered, make_project

pytest.importorskip("argilla")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EVERYTHING = {
    "preference": {"strength": 3, "tie": True},
    "ranking": {},
    "rating": {"dimensions": {"help": {"low": 1, "high": 5}}},
    "thumbs": {},
    "safety": {},
    "rationale": {"required": False},
    "confidence": {"levels": 5},
}


def said(*, tied: bool) -> dict:
    return {
        "preference": {"winner": None, "outcome": "tie"} if tied else {"winner": "r1", "strength": 2},
        "ranking": {"ranks": {"r0": 1, "r1": 1} if tied else {"r0": 2, "r1": 1}},
        "rating": {"r0": {"help": 4}, "r1": {"help": 2}},
        "thumbs": {"r0": True, "r1": False},
        "safety": {
            "r0": {"is_safe": True, "harms": [], "severity": 0},
            "r1": {"is_safe": False, "harms": ["Privacy Violation"], "severity": 2},
        },
        "safer": {"winner": "r0"},
        "rationale": "because",
        "confidence": 4,
    }


def items() -> list[NewItem]:
    """One with a single turn, one with several."""
    turns = [Message("user", "and?"), Message("assistant", "what?"), Message("user", "go on")]
    both = [[Message("user", "q?")], turns]
    return [
        NewItem(prompt, [NewResponse([Message("assistant", f"{n}{side}")], f"model-{side}") for side in "ab"], f"i{n}")
        for n, prompt in enumerate(both)
    ]


@pytest.fixture
def stub(monkeypatch):
    found = Stub(["ann", "Bob"])
    monkeypatch.setenv("ARGILLA_API_KEY", found.key)
    with running(found, free_port()) as url:
        monkeypatch.setenv("ARGILLA_API_URL", url)
        yield found


def label(db, *words: str) -> int:
    return main(["label", *words, "--db", str(db.url.database)])


def values(db, slug: str) -> dict:
    with db.read() as connection:
        found = gather(connection, get_project(connection, slug))
        return {(one.external_id, a.labeller): a.value for one in found for a in one.answers}


def empty(db, slug: str, questions: dict) -> None:
    with db.write() as connection:
        versions.create_project(connection, slug, Questions.model_validate(questions), settings=ProjectSettings())


def test_there_and_back_again(sqlite, stub, capsys):
    make_project(sqlite, questions=EVERYTHING, new_items=items(), overlap=3)
    for name in ("ann", "bob", "stranger"):
        answered(sqlite, name, [said(tied=True), said(tied=False)])
    assert label(sqlite, "push", "p", "mine", "--workspace", "team") == 0
    words = capsys.readouterr().out
    assert "2 records with 4 answers are in mine" in words
    assert "stranger has no account there: 2 answers stayed here" in words
    [there] = stub.datasets.values()
    assert (there["name"], there["status"], there["guidelines"]) == ("mine", "ready", "# Be fair")
    assert {one["name"]: one["settings"]["type"] for one in there["fields"]} == {
        "prompt": "chat",
        "r0": "text",
        "r1": "text",
    }
    assert {response["user_id"] for record in there["records"] for response in record["responses"]} == {
        stub.users["ann"],
        stub.users["Bob"],
    }
    empty(sqlite, "again", EVERYTHING)
    assert label(sqlite, "pull", "again", "mine") == 0
    assert "2 items added, 0 updated, 0 were there already, 0 refused, 4 answers taken over." in capsys.readouterr().out
    mine = {key: value for key, value in values(sqlite, "p").items() if key[1] != "stranger"}
    assert values(sqlite, "again") == mine  # tied ranks among them


def test_skips_and_suggestions_go_and_come(sqlite, stub):
    """Skips as discarded responses, with their reason; a tied ranking stays tied."""
    one, other = items()
    model = {name: said(tied=True)[name] for name in ("ranking", "preference", "rating", "safety", "safer")}
    one.suggestions, one.scores = {"m": model}, {"m": 0.25}
    make_project(sqlite, questions=EVERYTHING, new_items=[one, other], overlap=2, show_suggestions=True)
    answered(sqlite, "ann", [said(tied=False), None])
    answered(sqlite, "bob", [None, said(tied=True)])
    answered(sqlite, "stranger", [None])
    assert label(sqlite, "push", "p", "mine", "--workspace", "team") == 0
    [there] = stub.datasets.values()
    states = [sorted(response["status"] for response in record["responses"]) for record in there["records"]]
    assert states == [["discarded", "submitted"]] * 2
    empty(sqlite, "again", EVERYTHING)
    assert label(sqlite, "pull", "again", "mine") == 0
    before, after = (beside(sqlite, slug) for slug in ("p", "again"))
    assert [skip.labeller for skip in before["i0"].skips] == ["bob", "stranger"]
    assert before["i0"]._replace(skips=before["i0"].skips[:1]) == after["i0"]
    assert before["i1"] == after["i1"]
    assert after["i0"].suggestions == (("m", model, 0.25),)


def beside(db, slug: str) -> dict:
    with db.read() as connection:
        return {one.external_id: one.beside for one in gather(connection, get_project(connection, slug), beside=True)}


def test_pages_discarded_answers_and_unseen_users(sqlite, stub, capsys):
    stub.owner = False
    text = [{"name": name, "settings": {"type": "text"}} for name in ("instruction", "response_a", "response_b")]
    labels = {"type": "label_selection", "options": [{"value": v, "text": v} for v in ("response_a", "response_b")]}
    kept = {"user_id": stub.users["ann"], "status": "submitted", "values": {"which": {"value": "response_b"}}}
    thrown = {"user_id": stub.users["Bob"], "status": "discarded", "values": None}
    records = [
        {
            "external_id": f"e{n}",
            "fields": {"instruction": f"q{n}", "response_a": f"a{n}", "response_b": f"b{n}"},
            "responses": [kept, thrown],
        }
        for n in range(230)
    ]
    stub.add("theirs", text, [{"name": "which", "settings": labels}], records)
    empty(sqlite, "p", {"preference": {}})
    assert label(sqlite, "pull", "p", "theirs", "--dry-run") == 0
    assert "230 items would be added" in capsys.readouterr().out
    assert label(sqlite, "pull", "p", "theirs") == 0
    assert "230 items added" in capsys.readouterr().out
    found = values(sqlite, "p")
    assert len(found) == 230
    assert set(map(str, found.values())) == {"{'preference': {'winner': 'r1'}}"}
    assert {who for _, who in found} == {"ann"}
    with sqlite.read() as connection:
        assert len(connection.execute(select(skip)).all()) == 230


@pytest.mark.parametrize(
    ("change", "words", "sentence"),
    [
        ({"ARGILLA_API_KEY": "wrong"}, ("pull", "p", "x"), "(api_key and/or api_url) are invalid"),
        ({"ARGILLA_API_KEY": ""}, ("pull", "p", "x"), "your API key in ARGILLA_API_KEY"),
        ({"ARGILLA_API_URL": ""}, ("pull", "p", "x"), "its address by --url"),
        ({"ARGILLA_API_URL": "http://127.0.0.1:9"}, ("push", "p", "x"), "no Argilla server answers at"),
        ({}, ("pull", "p", "nothing"), "has no data set 'nothing'; it has none that you may see"),
        ({}, ("pull", "nowhere", "theirs"), "there is no project 'nowhere'"),
        ({}, ("push", "p", "theirs", "--workspace", "team"), "has a data set 'theirs' in the workspace 'team' already"),
        ({}, ("push", "p", "x", "--workspace", "nowhere"), "has no workspace 'nowhere'"),
    ],
)
def test_mistakes_are_one_sentence(sqlite, stub, capsys, monkeypatch, change, words, sentence):
    make_project(sqlite)
    if "theirs" in words:
        stub.add("theirs", [], [], [])
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    assert label(sqlite, *words) == 2
    assert sentence in capsys.readouterr().err
