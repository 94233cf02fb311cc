"""How often labellers are right, as far as the others' answers tell."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.labelling.projects import get_project
from heedful.labelling.quality import estimated_accuracy, labellers
from tests.labelling.conftest import answered, make_project


def better(winner: str) -> dict:
    return {"preference": {"winner": winner}}


def estimated(db) -> dict[str, dict | None]:
    with db.read() as connection:
        return {row["labeller"]: row["estimated"] for row in labellers(connection, get_project(connection, "p"))}


def test_people_of_known_accuracy(db):
    rng = np.random.default_rng(0)
    truth, right = rng.integers(2, size=150), {"ann": 0.95, "bob": 0.8, "cid": 0.8, "dan": 0.55}
    make_project(db, len(truth), overlap=len(right))
    for name, share in right.items():
        said = np.where(rng.random(len(truth)) < share, truth, 1 - truth)
        answered(db, name, [better(f"r{winner}") for winner in said])
        right[name] = float(np.mean(said == truth))
    for name, found in estimated(db).items():
        assert found is not None
        assert found["n"] == len(truth)
        assert found["accuracy"] == pytest.approx(right[name], abs=0.06)


def test_two_cannot_tell_who_is_wrong(sqlite):
    make_project(sqlite, 3, overlap=3)
    answered(sqlite, "ann", [better("r0")] * 3)
    answered(sqlite, "bob", [better("r1")] * 3)
    assert estimated(sqlite) == {"ann": None, "bob": None}
    answered(sqlite, "cid", [better("r1")])
    found = estimated(sqlite)
    assert {name: one and one["n"] for name, one in found.items()} == {"ann": 1, "bob": 1, "cid": 1}
    assert found["ann"]["accuracy"] < found["bob"]["accuracy"] == found["cid"]["accuracy"]


def test_each_response_is_a_case_of_its_own_where_thumbs_are_asked(db):
    make_project(db, 2, questions={"thumbs": {}}, overlap=3)
    for name, up in [("ann", True), ("bob", True), ("cid", False)]:
        answered(db, name, [{"thumbs": {"r0": up, "r1": True}}] * 2)
    found = estimated(db)
    assert {name: one and one["n"] for name, one in found.items()} == {"ann": 4, "bob": 4, "cid": 4}
    assert found["cid"]["accuracy"] < found["ann"]["accuracy"]


def test_grades_have_no_right_and_wrong(sqlite):
    make_project(sqlite, 1, questions={"rating": {}}, overlap=3)
    for name in ("ann", "bob", "cid"):
        answered(sqlite, name, [{"rating": {"r0": {"quality": 3}, "r1": {"quality": 4}}}])
    with sqlite.read() as connection:
        assert estimated_accuracy(connection, get_project(connection, "p")) == {}
