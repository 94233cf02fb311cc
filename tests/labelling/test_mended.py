"""What was once lost, given away or believed: each of these was a fault."""

from __future__ import annotations

import json
import time

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from heedful.cli.root import main
from heedful.labelling import accounts, adjudicating, importing, items, projects, versions, work
from heedful.labelling.accounts import Account
from heedful.labelling.consensus import decide, gather
from heedful.labelling.database import Database
from heedful.labelling.events import CLI, Actor
from heedful.labelling.exporting import Asked, export
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.projects import get_project, questions_of
from heedful.labelling.settings import ProjectSettings
from heedful.labelling.slots import place_of, void_item
from heedful.labelling.tables import item, slot
from heedful.labelling.web.app import create_app
from heedful.labelling.work import Refused
from heedful.types import Message
from tests.labelling.conftest import answered, better, make_project, pair, person

PAIR = {"preference": {}, "thumbs": {}}


def both(winner: str) -> dict:
    return better(winner) | {"thumbs": {"r0": True, "r1": False}}


def adjudicate(db: Database, value: dict) -> None:
    boss = person(db, f"boss{time.monotonic_ns()}", "admin")
    with db.read() as connection:
        public = connection.execute(select(item.c.public_id).order_by(item.c.id)).scalars().first()
    adjudicating.adjudicate(db, Actor(boss.id, "session"), str(public), value, "other")


def rows(db: Database, form: str = "trl", **asked) -> list[dict]:
    with db.read() as connection:
        return export(connection, "p", Asked(form, **asked)).rows


@pytest.mark.parametrize("name", ["labels.db", "labels.db-wal"])
def test_an_export_does_not_write_over_the_database(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    db = Database("labels.db")
    make_project(db)
    answered(db, "ann", [better("r0")])
    db.close()
    (tmp_path / "labels.db-wal").touch()
    assert main(["label", "export", "p", name, "--db", "labels.db", "--format", "native"]) == 2
    assert "belongs to a database" in capsys.readouterr().err
    assert (tmp_path / "labels.db").read_bytes()[:15] == b"SQLite format 3"
    assert main(["label", "export", "p", "out.jsonl", "--db", "labels.db"]) == 0


def test_a_decision_overrides_only_what_it_answers(sqlite):
    make_project(sqlite, 1, overlap=2, questions=PAIR)
    answered(sqlite, "ann", [both("r0")])
    answered(sqlite, "bob", [both("r1")])
    before = time.time()
    adjudicate(sqlite, better("r1"))
    assert [row["label"] for row in rows(sqlite, "kto")] == [True, False]
    assert rows(sqlite)[0]["chosen"][0]["content"] == "no 0"
    assert rows(sqlite, as_of=before) == []  # it was a tie then


def test_a_decision_is_checked_though_it_is_partial(sqlite):
    make_project(sqlite, 1, questions={"preference": {}, "safety": {}, "ranking": {}})
    for wrong in ({"safer": {"winner": "r9"}}, {"safer": 5}, better("r0") | {"ranking": {"ranks": {"r0": 2, "r1": 1}}}):
        with pytest.raises(Refused):
            adjudicate(sqlite, wrong)
    fine = {"is_safe": True, "harms": [], "severity": 0}
    adjudicate(sqlite, {"safety": {"r0": fine, "r1": fine}, "safer": {"winner": "r1"}})


def test_a_key_that_was_used_for_another_task_is_refused(sqlite):
    make_project(sqlite, 2)
    who = person(sqlite, "ann", member="annotator")
    first = work.claim(sqlite, who, "p")
    assert first is not None
    done = work.submit(sqlite, who, first.slot, first.lease_token, "K", better("r0"))
    assert work.submit(sqlite, who, first.slot, first.lease_token, "K", better("r0")).duplicate
    second = work.claim(sqlite, who, "p")
    assert second is not None
    with pytest.raises(Refused, match="another answer"):
        work.submit(sqlite, who, second.slot, second.lease_token, "K", better("r0"))
    other = work.submit(sqlite, who, second.slot, second.lease_token, "L", better("r0"))
    with pytest.raises(Refused, match="another answer"):
        work.revise(sqlite, who, other.annotation, better("r1"), "K")
    assert not work.revise(sqlite, who, done.annotation, better("r1"), "M").duplicate
    assert work.revise(sqlite, who, done.annotation, better("r1"), "M").duplicate


def test_two_who_always_contradict_each_other_decide_nothing(sqlite):
    make_project(sqlite, 20, overlap=2)
    answered(sqlite, "ann", [better(f"r{n % 2}") for n in range(20)])
    answered(sqlite, "bob", [better(f"r{1 - n % 2}") for n in range(20)])
    with sqlite.read() as connection:
        found = get_project(connection, "p")
        gathered = gather(connection, found)
        decide(connection, found, gathered, "onecoin")
    assert all(one.undecided == {"preference": "the votes are tied"} for one in gathered)


def test_a_closed_project_takes_no_answer(sqlite):
    make_project(sqlite)
    who = person(sqlite, "ann", member="annotator")
    task = work.claim(sqlite, who, "p")
    assert task is not None
    with sqlite.write() as connection:
        projects.set_state(connection, "p", "closed")
    with pytest.raises(Refused, match="closed"):
        work.submit(sqlite, who, task.slot, task.lease_token, "k", better("r0"))


class TestUpdates:
    def other(self, number: int = 0) -> NewItem:
        return NewItem(
            [Message("user", "other")], [NewResponse([Message("assistant", text)]) for text in "xy"], f"i{number}"
        )

    def test_nobody_judges_texts_that_are_gone(self, sqlite):
        make_project(sqlite, 1)
        who = person(sqlite, "ann", member="annotator")
        task = work.claim(sqlite, who, "p")
        assert task is not None
        with sqlite.write() as connection:
            items.add_items(connection, "p", [self.other()], on_conflict="update")
        with pytest.raises(Refused):
            work.submit(sqlite, who, task.slot, task.lease_token, "k", better("r0"))
        again = work.claim(sqlite, who, "p")
        assert again is not None
        assert again.prompt[0]["content"] == "other"

    def test_what_was_taken_out_stays_out(self, sqlite):
        make_project(sqlite, 1)
        with sqlite.write() as connection:
            void_item(connection, 1, CLI)
            items.add_items(connection, "p", [self.other()], on_conflict="update")
        assert work.claim(sqlite, person(sqlite, "ann", member="annotator"), "p") is None


def test_dimensions_that_came_later(sqlite):
    make_project(sqlite, 1, overlap=2, questions={"rating": {"dimensions": {"quality": {}}}})
    answered(sqlite, "ann", [{"rating": {key: {"quality": 4} for key in ("r0", "r1")}}])
    with sqlite.write() as connection:
        asked = questions_of({"rating": {"dimensions": {"helpful": {}}}})
        versions.add_version(connection, "p", asked, "", get_project(connection, "p").settings)
    answered(sqlite, "bob", [{"rating": {key: {"helpful": 2} for key in ("r0", "r1")}}])
    assert rows(sqlite, "heedful")[0]["responses"][0]["extra"]["rating"] == {"helpful": 2, "quality": 4}


def test_names_of_slots_do_not_tell_when_they_were_made(sqlite):
    make_project(sqlite, 30)
    with sqlite.read() as connection:
        names = connection.execute(select(slot.c.public_id)).scalars().all()
    assert len({name[:4] for name in names}) > 10


def test_urgent_ones_first_up_to_the_bounds():
    settings = ProjectSettings(assign="priority")
    wanted = [1000, 900, 0.5, 0.499, 0, -0.5, -1000]
    places = [place_of(settings, {"position": 1, "priority": one}, 0) for one in wanted]
    assert places == sorted(set(places))
    assert places[0] > 0
    assert places[-1] < 2**62


class TestOddRows:
    def read(self, form: str, *told: dict) -> list:
        return list(importing.items_of(iter([(f"row {n}", row) for n, row in enumerate(told)]), form))

    @pytest.mark.parametrize(
        ("form", "row"),
        [
            ("argilla", {"fields": {"prompt": "q", "r0": "a", "r1": "b"}, "responses": [1]}),
            ("argilla", {"fields": {"prompt": "q", "r0": [1]}, "responses": {}}),
            ("argilla", {"fields": {"prompt": "q", "r0": "a"}, "responses": {"ranking": [{"value": 5}]}}),
            ("label-studio", {"data": {"prompt": "q", "r0": "a"}, "annotations": ["text"]}),
            ("label-studio", {"data": {"prompt": "q", "r0": "a"}, "annotations": [{"result": [], "lead_time": "x"}]}),
            ("arena", {"conversation_a": ["text"], "conversation_b": ["text"]}),
            ("arena", {"winner_model_a": 1, "prompt": "[", "response_a": "[]", "response_b": "[]"}),
            ("items", {"responses": ["a", "b"], "gold": 5}),
            ("items", {"responses": [{"content": "a", "meta": [1]}, "b"]}),
        ],
    )
    def test_each_costs_only_itself(self, form, row):
        good = {
            "argilla": {"fields": {"prompt": "q", "r0": "a", "r1": "b"}},
            "label-studio": {"data": {"prompt": "q", "r0": "a", "r1": "b"}},
            "arena": {side: [{"role": "assistant", "content": side}] for side in ("conversation_a", "conversation_b")},
            "items": {"responses": ["a", "b"]},
        }[form]
        odd, fine = self.read(form, row, good)
        assert isinstance(fine, NewItem)
        assert not isinstance(odd, NewItem)
        assert odd.reason

    @pytest.mark.parametrize(
        "change",
        [{"priority": float("nan")}, {"priority": 1e9}, {"overlap": 2.5}, {"overlap": "3"}, {"meta": {"n": 2**70}}],
    )
    def test_what_cannot_be_stored_is_refused(self, sqlite, change):
        make_project(sqlite, 1)
        one = pair(7)
        for name, value in change.items():
            setattr(one, name, value)
        with sqlite.write() as connection:
            added = items.add_items(connection, "p", [one, pair(8)])
        assert (added.added, len(added.refused)) == (1, 1)

    def test_a_text_that_is_no_text(self, sqlite):
        make_project(sqlite, 1)
        broken = NewItem([Message("user", "\ud800")], [NewResponse([Message("assistant", text)]) for text in "ab"])
        with sqlite.write() as connection:
            assert len(items.add_items(connection, "p", [broken]).refused) == 1

    def test_two_answers_of_one_person(self, sqlite):
        make_project(sqlite, 1)
        said = [{"result": [], "completed_by": {"email": "ann"}, "was_cancelled": True} for _ in range(2)]
        task = {"data": {"prompt": "q", "r0": "a", "r1": "b"}, "annotations": said, "id": 5}
        with sqlite.write() as connection:
            added = items.add_items(connection, "p", self.read("label-studio", task))
        assert added.added == 1
        assert added.refused == [("row 0", "1 earlier answers of people who gave another later")]


class TestRequests:
    @pytest.fixture
    def server(self, sqlite):
        make_project(sqlite)
        with TestClient(create_app(sqlite), base_url="http://testserver", follow_redirects=False) as client:
            yield client

    def token(self, db: Database, who: Account, *scopes: str) -> dict[str, str]:
        with db.write() as connection:
            secret = accounts.make_token(connection, who.id, "t", scopes, None, who.actor)
        return {"authorization": f"Bearer {secret}"}

    def test_a_token_makes_none_that_may_more(self, sqlite, server):
        held = self.token(sqlite, person(sqlite, "boss", "admin"), "manage")
        assert server.post("/api/v1/tokens", json={"name": "x", "scopes": ["label"]}, headers=held).status_code == 403
        assert server.post("/api/v1/tokens", json={"name": "x", "scopes": ["manage"]}, headers=held).status_code == 201

    def test_lines_end_where_json_lines_end(self, sqlite, server):
        held = self.token(sqlite, person(sqlite, "boss", "admin"), "manage")
        row = json.dumps({"prompt": "one\u2028two\u0085", "responses": ["a", "b"]}, ensure_ascii=False)
        sent = server.post("/api/v1/projects/p/items:import", content=f"\ufeff{row}\n{row}x\n".encode(), headers=held)
        assert sent.status_code == 422  # the second line is none
        sent = server.post("/api/v1/projects/p/items:import", content=f"\ufeff{row}\n".encode(), headers=held)
        assert (sent.status_code, sent.json()["added"]) == (200, 1)

    def test_secrets_and_origins_that_are_none(self, sqlite, server):
        who = person(sqlite, "ann", member="annotator")
        held = self.token(sqlite, who, "label")
        task = server.post("/api/v1/projects/p/claim", headers=held).json()
        body = {"lease_token": "é", "client_key": "k", "value": better("r0")}
        assert server.post(f"/api/v1/slots/{task['slot']}/submit", json=body, headers=held).status_code == 409
        with sqlite.write() as connection:
            server.cookies.set("heed_session", accounts.begin_session(connection, who.id))
        for headers in ({"origin": "http://[::1"}, {"referer": "http://[bad"}):
            assert server.post("/p/p/skip", data={"csrf": "é"}, headers=headers).status_code == 403
        assert server.post("/p/p/skip", data={"csrf": "é"}).status_code == 403


@pytest.mark.parametrize("high", [200, 10**12])
def test_scales_have_an_end(high):
    with pytest.raises(ValueError, match="at the most"):
        questions_of({"rating": {"dimensions": {"x": {"high": high}}}})
