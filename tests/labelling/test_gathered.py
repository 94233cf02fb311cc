"""Packed answers are the answers that were given."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from heedful.labelling import adjudicating
from heedful.labelling.agreement_tables import agreement_in, agreement_table
from heedful.labelling.consensus import by_majority, decide, gather
from heedful.labelling.exporting import Asked, export
from heedful.labelling.formats.training import Shape
from heedful.labelling.projects import get_project
from heedful.labelling.tables import annotation, item, membership, user
from heedful.labelling.versions import add_version
from tests.labelling.conftest import answered, make_project, person

ODD = 'a separator \x1e, a "quote", a comma, [brackets], \\ and ünïcödé \U0001f600'


def said(winner: str, why: str | None = None) -> dict:
    return {"preference": {"winner": winner}} | ({} if why is None else {"rationale": why})


@pytest.fixture
def judged(db):
    make_project(db, 4, questions={"preference": {}, "rationale": {}}, overlap=3)
    answered(db, "cid", [said("r0", ODD), said("r0"), said("r1"), said("r0")])
    answered(db, "ann", [said("r1", "no"), said("r0"), said("r1")])
    answered(db, "bob", [said("r0"), said("r0")])
    return db


def test_answers_are_those_of_the_table_by_the_labellers_names(judged):
    with judged.read() as connection:
        items = gather(connection, get_project(connection, "p"), times=True)
        columns = (user.c.username, *(annotation.c[n] for n in ("value", "project_version", "wall_ms", "submitted_at")))
        asked = select(*columns).join(user, user.c.id == annotation.c.user_id).order_by(user.c.username)
        for one in items:
            rows = connection.execute(asked.where(annotation.c.item_id == one.id)).all()
            assert [(a.labeller, a.value, a.version, a.wall_ms, a.at) for a in one.answers] == list(map(tuple, rows))
    assert [len(one.answers) for one in items] == [3, 3, 2, 1]
    assert [answer.labeller for answer in items[0].answers] == ["ann", "bob", "cid"]
    assert items[0].answers[-1].value == said("r0", ODD)
    assert [answer.labeller for answer in items[1].answers[:2]] == ["ann", "bob"]
    assert (items.book.labellers, items.book.versions, len(items.book)) == (["ann", "bob", "cid"], [1], 9)
    assert items.book.newest == max(answer.at or 0 for one in items for answer in one.answers)


def test_times_are_there_only_where_they_were_asked_for(judged):
    with judged.read() as connection:
        [first, *_] = gather(connection, get_project(connection, "p"))
    assert {(answer.at, answer.wall_ms) for answer in first.answers} == {(None, None)}


def test_the_versions_are_those_in_which_answers_were_given(judged):
    with judged.write() as connection:
        found = get_project(connection, "p")
        for advice in ("Read slowly.", "Read twice."):
            add_version(connection, "p", found.questions, advice, found.settings)
        last = select(func.max(annotation.c.id)).scalar_subquery()
        connection.execute(update(annotation).where(annotation.c.id == last).values(project_version=3))
    with judged.read() as connection:
        assert gather(connection, get_project(connection, "p")).book.versions == [1, 3]


def test_a_majority_counts_the_answers_that_an_own_aggregate_left(judged):
    with judged.read() as connection:
        items = gather(connection, get_project(connection, "p"))
        decide(connection, get_project(connection, "p"), items, by_majority)
        for one in items:
            one.answers = [answer for answer in one.answers if answer.labeller == "ann"]
        by_majority(items)
    winners = [one.value.get("preference", {}).get("winner") for one in items]
    assert winners == ["r1", "r0", "r1", None]
    assert (items[3].value, items[3].confidence, items[3].undecided) == ({}, {}, {})
    assert agreement_table(items)["preference"]["labels"] == 3


def bare(done) -> tuple:
    """An export's rows and manifest, but for when it was made."""
    return done.lines, {name: value for name, value in done.manifest.items() if name != "at"}


@pytest.mark.parametrize("asked", [Asked("trl"), Asked("kto", shape=Shape(labels_from="preference"))])
def test_texts_that_pass_through_are_the_same_bytes_as_texts_that_are_read(judged, asked, monkeypatch):
    with judged.write() as connection:
        connection.execute(update(item).values(prompt=[{"role": "user", "content": ODD}]))
    with judged.read() as connection:
        passed = export(connection, "p", asked)
        monkeypatch.setattr(Asked, "passes_texts", False)
        read = export(connection, "p", asked)
    assert passed.rows[0]["prompt"] == [{"role": "user", "content": ODD}]
    assert bare(passed) == bare(read)


@pytest.mark.parametrize("only", ["all", "as_of", "without_paused"])
def test_answers_without_people_are_the_same_answers(judged, only):
    answered(judged, "dan", [said("r1"), said("r0")])
    with judged.write() as connection:
        found = get_project(connection, "p")
        add_version(connection, "p", found.questions, "Read slowly.", found.settings)
        add_version(connection, "p", found.questions, "Read twice.", found.settings)
        ids = list(connection.scalars(select(annotation.c.id).order_by(annotation.c.id)))
        connection.execute(update(annotation).where(annotation.c.id == ids[5]).values(project_version=3))
        bob = select(user.c.id).where(user.c.username == "bob").scalar_subquery()
        connection.execute(update(membership).where(membership.c.user_id == bob).values(paused=True))
        times = list(connection.scalars(select(annotation.c.submitted_at).order_by(annotation.c.id)))
    moment = (times[-2] + times[-1]) / 2 if only == "as_of" else None
    with judged.read() as connection:
        named, nameless = (
            gather(connection, found, people=people, as_of=moment, without_paused=only == "without_paused")
            for people in (True, False)
        )
    assert [one.values for one in nameless] == [one.values for one in named]
    assert [one.n for one in nameless] == [len(list(one.answers)) for one in named]
    assert nameless.book.labellers == named.book.labellers
    assert named.book.labellers == sorted({answer.labeller for one in named for answer in one.answers})
    assert len(named.book.labellers) == (3 if only == "without_paused" else 4)
    assert nameless.book.versions == named.book.versions == [1, 3]
    assert (nameless.book.newest, len(nameless.book)) == (named.book.newest, len(named.book))
    with pytest.raises(AssertionError, match="people were not read"):
        list(nameless[0].answers)


def read_either_way(db, form: str, monkeypatch) -> list[tuple]:
    """An export's rows and manifest, without people and with them."""
    asked = Asked(form, shape=Shape(labels_from="preference"))
    with db.read() as connection:
        without = export(connection, "p", asked)
        monkeypatch.setattr(Asked, "needs_people", True)
        named = export(connection, "p", asked)
    return [bare(without), bare(named)]


@pytest.mark.parametrize("form", ["heedful", "trl", "kto"])
def test_rows_of_three_peoples_answers_are_the_same_whether_people_are_read_or_not(judged, form, monkeypatch):
    without, named = read_either_way(judged, form, monkeypatch)
    assert without == named


@pytest.mark.parametrize("form", ["heedful", "trl", "kto"])
def test_rows_of_two_peoples_answers_are_the_same_whether_people_are_read_or_not(alike, form, monkeypatch):
    without, named = read_either_way(alike, form, monkeypatch)
    assert without == named


def test_two_people_are_read_in_any_case_for_their_kappa(alike):
    with alike.read() as connection:
        manifest = export(connection, "p", Asked("trl")).manifest
    assert manifest["labellers"] == 2
    assert manifest["agreement"]["preference"]["cohen_kappa"]["n"] == 3


def test_nobody_answered(db):
    make_project(db, 2)
    with db.read() as connection:
        items = gather(connection, get_project(connection, "p"))
    assert [list(one.answers) for one in items] == [[], []]
    assert (items.book.labellers, items.book.versions, items.book.newest) == ([], [], None)


@pytest.fixture
def alike(db):
    make_project(db, 3, overlap=2)
    answered(db, "ann", [said("r0"), said("r0"), said("r1")])
    answered(db, "bob", [said("r0"), said("r0"), said("r0")])
    return db


@pytest.mark.parametrize("aggregate", ["majority", "onecoin"])
def test_items_with_the_same_answers_share_what_was_decided_until_one_is_changed(alike, aggregate):
    with alike.read() as connection:
        found = get_project(connection, "p")
        items = gather(connection, found)
        decide(connection, found, items, aggregate)
    first, second, _ = items
    assert first.answers.values is second.answers.values
    assert (first.value is second.value) == (aggregate == "majority")
    first.own()
    first.value.clear()
    assert second.value["preference"]["winner"] == "r0"


def test_an_aggregate_of_ones_own_may_change_what_majorities_came_to(alike):
    def without_the_first(items):
        by_majority(items)
        items[0].value.pop("preference")

    def of_ann_alone(items):
        for one in items:
            one.answers = [answer for answer in one.answers if answer.labeller == "ann"]
        by_majority(items)

    def winners(aggregate):
        with alike.read() as connection:
            rows = export(connection, "p", Asked("trl", aggregate=aggregate)).rows
        return [(row["meta"]["item"], row["chosen"][0]["content"]) for row in rows]

    assert winners(without_the_first) == [("i1", "yes 1")]
    assert winners(of_ann_alone) == [("i0", "yes 0"), ("i1", "yes 1"), ("i2", "no 2")]


def test_an_adjudication_decides_one_item_alone(judged):
    judge = person(judged, "judge", "admin")
    with judged.read() as connection:
        public_id = connection.execute(select(item.c.public_id).where(item.c.external_id == "i1")).scalar_one()
    adjudicating.adjudicate(judged, judge.actor, public_id, said("r1"), adjudicating.CATEGORIES[0])
    with judged.read() as connection:
        found = get_project(connection, "p")
        items = gather(connection, found)
        decide(connection, found, items)
        winners = [one.value["preference"]["winner"] for one in items]
        assert winners == ["r0", "r1", "r1", "r0"]
        assert agreement_table(items) == agreement_in(connection, found)
        unsure = export(connection, "p", Asked("trl", min_confidence=0.9))
        assert [row["meta"]["item"] for row in unsure.rows] == ["i1", "i2", "i3"]
