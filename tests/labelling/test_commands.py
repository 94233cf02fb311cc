"""`heed label`: what a command says, and what a mistake is told."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from benchmarks.labelling_safety import kills

from heedful.cli.root import main
from heedful.labelling import accounts, projects, work
from heedful.labelling.database import Database
from heedful.labelling.web.serve import is_local, listen
from heedful.types import UserError


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEEDFUL_LABELS", raising=False)
    rows = [{"prompt": f"q{n}", "responses": [f"a{n}", f"b{n}"], "id": f"i{n}"} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def said(capsys, *words: str) -> tuple[int, str]:
    status = main(["label", *words])
    out = capsys.readouterr()
    return status, (out.out + out.err).strip()


def test_from_rows_to_a_project_and_out_again(place, capsys):
    assert said(capsys, "create", "p", "preference", "--overlap", "2")[0] == 0
    status, words = said(capsys, "import", "p", "rows.jsonl", "--format", "items")
    assert (status, words.splitlines()[0]) == (0, "3 items added, 0 updated, 0 were there already, 0 refused.")
    assert "3 were there already" in said(capsys, "import", "p", "rows.jsonl", "--format", "items")[1]
    assert said(capsys, "open", "p") == (0, "p is open.")
    assert "enter/" in said(capsys, "users", "add", "ann", "--project", "p")[1]
    db = Database("labels.db")
    with db.read() as connection:
        ann = accounts.Account(accounts.find_user(connection, "ann"), "ann", "ann", "annotator")
    for winner in ("r0", "r1"):
        task = work.claim(db, ann, "p")
        assert task is not None
        work.submit(db, ann, task.slot, task.lease_token, winner, {"preference": {"winner": winner}})
    db.close()
    said(capsys, "users", "member", "ann", "--project", "p", "--role", "manager", "--quota", "9")
    assert said(capsys, "users", "pause", "ann", "--project", "p") == (0, "ann: done.")
    db = Database("labels.db")
    with db.read() as connection:
        member = projects.member_of(connection, ann, projects.get_project(connection, "p").id)
    db.close()
    assert (member.role, member.paused, member.quota) == ("manager", True, 9)
    assert "eve" in said(capsys, "users", "pause", "eve", "--project", "p")[1]
    assert "ann: 2 answers" in said(capsys, "stats", "p")[1]
    assert "undefined, because no item has two labels" in said(capsys, "agreement", "p")[1]
    status, words = said(capsys, "export", "p", "out.jsonl")
    assert (status, words.splitlines()[0]) == (0, "Wrote 2 rows")
    assert said(capsys, "export", "p", "no.jsonl", "--without-paused")[0] == 2
    assert said(capsys, "export", "p", "all.jsonl", "--format", "native")[0] == 0
    assert said(capsys, "import", "again", "all.jsonl", "--format", "native")[1] == "again is there again, open."
    assert said(capsys, "verify-audit")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stats", "nothing"], "labels.db: no such database"),
        (["serve", "--host", "0.0.0.0", "--db", "x.db"], "say --allow-remote"),
        (["create", "Bad Name", "preference"], "'Bad Name' is no project's name"),
        (["create", "p"], "asks at least one of"),
        (["create", "p", "preferense"], "preferense"),
        (["create", "p", "preference", "--overlap", "0"], "overlap"),
        (["users", "add"], "needs a name"),
        (["exprot", "p", "x"], "did you mean export?"),
    ],
)
def test_mistakes(place, capsys, words, sentence):
    status, words_said = said(capsys, *words)
    assert (status, sentence in words_said) == (2, True), words_said
    assert words_said.count("\n") == 0


def test_mistakes_about_a_project(place, capsys):
    said(capsys, "create", "p", "preference")
    for words, sentence in [
        (["stats", "q"], "there is no project 'q' (there are: p)"),
        (["open", "p"], "p has no items"),
        (["import", "p", "missing.jsonl"], "missing.jsonl"),
        (["import", "p", "missing.jsonl", "--format", "items"], "missing.jsonl: no such file"),
        (["export", "p", "x.jsonl"], "nothing can be exported as trl: there are no items"),
        (["export", "p", "x.jsonl", "--aggregate", "mean"], "aggregate must be"),
        (["create", "p", "preference"], "there is a project p already"),
    ]:
        status, words_said = said(capsys, *words)
        assert (status, sentence in words_said) == (2, True), words_said
    assert not (place / "x.jsonl").exists()


def test_who_reaches_it():
    assert [is_local(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.2", "example.org")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_taken_port_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="give another --port"):
            listen(port=taken.getsockname()[1])


@pytest.mark.parametrize("words", [["demo", "--out", "made"], ["serve", "--db", "made"]])
def test_a_port_that_cannot_be_used_is_refused_before_anything_is_made(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    status, words_said = said(capsys, *words, "--port", "99999")
    assert (status, "ports are 0 to 65535" in words_said) == (2, True), words_said
    assert not Path("made").exists()


def test_an_address_that_others_reach_is_refused():
    with pytest.raises(UserError, match="--allow-remote"):
        listen("0.0.0.0")


@pytest.mark.slow
@pytest.mark.processes
def test_a_killed_server_has_every_answer_it_acknowledged(url):
    """Three SIGKILLs while four programs submit; a program sends again until it is told that the answer is there."""
    found = kills(url, 3, programs=4)
    assert found["acknowledged"] > 20
    assert (found["lost"], found["over_assigned"], found["same_person_twice"], found["counted_wrong"]) == (0, 0, 0, 0)
    assert (found["audit"], found.get("integrity", "ok")) == ("whole", "ok")
