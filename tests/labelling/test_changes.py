"""What the JSON interface changes piece by piece, what it says of labellers, and that the audit trail has it."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from heedful.labelling import work
from heedful.labelling.events import verify
from heedful.labelling.tables import event, item, project_version
from heedful.labelling.web.app import create_app
from tests.labelling.conftest import answered, better, make_project, pair, person
from tests.labelling.test_app import token

P = "/api/v1/projects/p"


@pytest.fixture
def server(db):
    with TestClient(create_app(db), base_url="http://testserver", follow_redirects=False) as client:
        yield client


@pytest.fixture
def boss(db) -> dict[str, str]:
    return token(db, person(db, "boss", "admin"))


def last_event(db) -> tuple[str, dict]:
    with db.read() as connection:
        assert verify(connection)[1] is None
        return tuple(connection.execute(select(event.c.verb, event.c.data).order_by(event.c.id.desc())).first())


def named(db, name: str) -> str:
    with db.read() as connection:
        return connection.scalar(select(item.c.public_id).where(item.c.external_id == name))


class TestAProject:
    def test_another_name_makes_no_version(self, db, server, boss):
        make_project(db, overlap=2)
        got = server.patch(P, headers=boss, json={"name": "Help"}).json()
        assert (got["name"], got["slug"], got["version"], got["settings"]["overlap"]) == ("Help", "p", 1, 2)
        assert last_event(db) == ("project.rename", {"name": "Help"})

    def test_settings_that_are_not_named_stay(self, db, server, boss):
        make_project(db, 2, overlap=2, seed=7)
        got = server.patch(P, headers=boss, json={"settings": {"overlap": 3}}).json()
        assert (got["version"], got["settings"]["overlap"], got["settings"]["seed"]) == (2, 3, 7)
        assert server.get(f"{P}/stats", headers=boss).json()["answers_wanted"] == 6
        assert last_event(db) == ("project.version", {"version": 2})

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"settings": {"overlp": 3}}, "overlp is unknown; did you mean overlap?"),
            ({"settings": {"overlap": 0}}, "overlap: must be at least 1"),
            ({"nme": "x"}, "Extra inputs are not permitted"),
            ({"name": ""}, "at least 1 character"),
        ],
    )
    def test_what_is_no_change_changes_nothing(self, db, server, boss, body, said):
        make_project(db)
        got = server.patch(P, headers=boss, json={"name": "New", **body})
        assert (got.status_code, said in got.text) == (422, True), got.text
        assert server.get(P, headers=boss).json()["name"] == "p"
        with db.read() as connection:
            assert connection.scalars(select(project_version.c.version)).all() == [1]


class TestAnItem:
    def test_a_priority_puts_it_first(self, db, server, boss):
        make_project(db, 3, assign="priority")
        got = server.patch(f"{P}/items/{named(db, 'i2')}", headers=boss, json={"priority": 1.5}).json()
        assert (got["external_id"], got["priority"], got["overlap"]) == ("i2", 1.5, None)
        assert last_event(db) == ("item.change", {"priority": 1.5})
        task = work.claim(db, person(db, "ann", member="annotator"), "p")
        assert task is not None
        assert task.prompt[0]["content"] == "Question 2?"

    def test_more_answers_are_wanted_of_it_and_then_as_many_as_of_all(self, db, server, boss):
        make_project(db, 2)
        answered(db, "ann", [better("r0")])
        path = f"{P}/items/{named(db, 'i0')}"
        got = server.patch(path, headers=boss, json={"overlap": 3}).json()
        assert (got["overlap"], got["state"], got["priority"]) == (3, "open", 0.0)
        assert server.get(f"{P}/stats", headers=boss).json()["answers_wanted"] == 4
        got = server.patch(path, headers=boss, json={"overlap": None}).json()
        assert (got["overlap"], got["state"]) == (None, "complete")
        assert server.get(f"{P}/stats", headers=boss).json()["answers_wanted"] == 2

    def test_gold_has_no_place_and_what_was_taken_out_stays_out(self, db, server, boss):
        make_project(db, new_items=[pair(0), pair(1, gold=better("r0"))])
        gone = f"{P}/items/{named(db, 'i0')}"
        assert server.post(f"{gone}/void", headers=boss).status_code == 204
        for path, said in ((gone, "i0 was taken out"), (f"{P}/items/{named(db, 'i1')}", "i1 is gold")):
            got = server.patch(path, headers=boss, json={"priority": 1})
            assert (got.status_code, said in got.text) == (422, True)
        assert server.patch(f"{P}/items/unknown", headers=boss, json={}).status_code == 404

    def test_pages_of_items_neither_miss_nor_repeat_any(self, db, server, boss):
        """A repetition stands where its original does in the data."""
        make_project(db, 6, repeat_rate=0.5, repeat_after=1)
        who = person(db, "ann", member="annotator")
        while (task := work.claim(db, who, "p")) is not None:
            work.submit(db, who, task.slot, task.lease_token, task.slot, better("r0"))
        with db.read() as connection:
            there = list(connection.scalars(select(item.c.public_id).order_by(item.c.id)))
        listed, cursor = [], 0
        while cursor is not None:
            got = server.get(f"{P}/items?limit=2&cursor={cursor}", headers=boss).json()
            listed += [one["public_id"] for one in got["items"]]
            cursor = got["cursor"]
        assert len(there) > 6
        assert listed == there


def test_how_often_the_first_shown_won(db, server, boss):
    """Ann takes the first three times of four, bob never: 3/4 is one standard deviation off, 0/4 two."""
    make_project(db, 4, overlap=2)
    for name, wins in (("ann", (1, 1, 1, 0)), ("bob", (0, 0, 0, 0))):
        who = person(db, name, member="annotator")
        for number, first in enumerate(wins):
            task = work.claim(db, who, "p")
            assert task is not None
            winner = task.responses[0 if first else 1].key
            work.submit(db, who, task.slot, task.lease_token, f"{name}{number}", better(winner))
    got = server.get(f"{P}/position-bias", headers=boss).json()
    assert got["labellers"] == [
        {"labeller": "ann", "first_shown": {"share": 0.75, "n": 4, "z": 1.0}},
        {"labeller": "bob", "first_shown": {"share": 0.0, "n": 4, "z": -2.0}},
    ]
    assert got["all"] == {"share": 0.375, "n": 8, "z": -0.71}  # (3 - 4) / sqrt(8 / 4)


def test_gold_by_item_and_by_labeller(db, server, boss):
    known = [pair(0, gold=better("r0"), explanation="Yes."), pair(1, gold=better("r1"))]
    make_project(db, new_items=[*known, pair(2)], gold_rate=1.0)
    for name in ("ann", "bob"):
        who = person(db, name, member="annotator")
        while (task := work.claim(db, who, "p")) is not None:
            is_first = "0?" in task.prompt[0]["content"]
            winner = "r0" if is_first or name == "bob" else "r1"
            work.submit(db, who, task.slot, task.lease_token, f"{name}{task.slot}", better(winner))
    got = server.get(f"{P}/gold", headers=boss).json()
    rows = [(one["external_id"], one["expected"], one["explanation"], one["right"], one["n"]) for one in got["items"]]
    assert rows == [("i0", better("r0"), "Yes.", 2, 2), ("i1", better("r1"), "", 1, 2)]
    assert got["labellers"] == [{"labeller": "ann", "right": 2, "n": 2}, {"labeller": "bob", "right": 1, "n": 2}]


def test_a_token_comes_with_the_id_that_revokes_it(db, server, boss):
    made = server.post("/api/v1/tokens", headers=boss, json={"scopes": ["read"]}).json()
    headers = {"authorization": f"Bearer {made['token']}"}
    assert server.get("/api/v1/me", headers=headers).status_code == 200
    assert server.delete(f"/api/v1/tokens/{made['id']}", headers=boss).status_code == 204
    assert server.get("/api/v1/me", headers=headers).status_code == 401
    assert server.delete(f"/api/v1/tokens/{made['id']}", headers=boss).status_code == 404
