"""A whole project's file into a project that is there: nothing twice, counts told, conflicts named."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import func, select

from heedful.cli.root import main
from heedful.labelling import adjudicating, items, projects, work
from heedful.labelling.consensus import gather
from heedful.labelling.database import Database
from heedful.labelling.events import CLI, verify
from heedful.labelling.formats import native
from heedful.labelling.formats.native_merge import Merged, merge
from heedful.labelling.tables import adjudication, annotation, item, response, slot
from heedful.types import UserError
from tests.labelling.conftest import answered, better, make_project, pair, person
from tests.labelling.test_formats import person_of


def lines(db: Database) -> list[dict]:
    with db.read() as connection:
        return [json.loads(json.dumps(row)) for row in native.rows(connection, projects.get_project(connection, "p"))]


@pytest.fixture
def two(tmp_path):
    """A project of two items, of which ann answered the first, and its copy in another database."""
    here, there = Database(str(tmp_path / "labels.db")), Database(str(tmp_path / "there.db"))
    make_project(here, 2, overlap=2)
    answered(here, "ann", [better("r0")])
    with there.write() as connection:
        native.restore(connection, lines(here), CLI)
    yield here, there
    here.close()
    there.close()


def merged(db: Database, rows: list[dict], on_conflict="skip") -> Merged:
    with db.write() as connection:
        return merge(connection, rows, "p", on_conflict=on_conflict)


def said(db: Database) -> dict[str, dict[str, dict]]:
    """Item → labeller → what they say now."""
    with db.read() as connection:
        found = gather(connection, projects.get_project(connection, "p"))
        assert verify(connection)[1] is None
    return {one.external_id: {answer.labeller: answer.value for answer in one.answers} for one in found}


def revised(db: Database, name: str, value: dict, key: str) -> None:
    who = person_of(db, name)
    with db.read() as connection:
        given = work.mine(connection, who, "p")[0]
    work.revise(db, who, given["annotation"], value, key)


def test_what_is_new_comes_in_and_nothing_twice(two):
    here, there = two
    with there.write() as connection:
        items.add_items(connection, "p", [pair(7)])
    answered(there, "bob", [better("r1"), None, better("r0")])
    task = work.claim(there, person_of(there, "ann"), "p")
    work.flag_task(there, person_of(there, "ann"), task.slot, task.lease_token, work.FLAG_KINDS[0], "look")
    rows = lines(there)
    done = merged(here, rows)
    assert (done.items.added, done.items.skipped, done.refused) == (1, 2, [])
    assert done.taken == {"answers": 2, "skips": 1, "reports": 1}
    assert done.there == {"answers": 1}
    assert said(here) == said(there)
    before = lines(here)
    again = merged(here, rows)
    assert (again.items.added, again.taken.total(), again.there.total()) == (0, 0, 5)
    assert lines(here) == before
    with here.read() as connection:
        per_item = select(func.count()).where(slot.c.state != "void").group_by(slot.c.item_id)
        assert connection.execute(per_item).scalars().all() == [2, 2, 2]
        state = select(item.c.state).where(item.c.external_id == "i0")
        assert connection.execute(state).scalar_one() == "disputed"
        assert work.progress(connection, person_of(here, "bob"), "p").mine == 2


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
def test_who_answered_otherwise_is_named_and_the_newer_answer_stands_only_with_update(two, on_conflict):
    here, there = two
    revised(there, "ann", better("r1"), "there")
    done = merged(here, lines(there), on_conflict)
    if on_conflict == "skip":
        assert done.refused == [("i0", "ann answered it otherwise here; that answer stands")]
        assert said(here)["i0"] == {"ann": better("r0")}
        return
    assert (done.refused, done.taken) == ([], {"answers": 1})
    assert said(here)["i0"] == {"ann": better("r1")}
    revised(here, "ann", better(None), "here")
    older = merged(here, lines(there), on_conflict)
    assert (older.refused, older.taken.total()) == ([], 0)  # the file's answers are all here, and one more
    assert said(here)["i0"] == {"ann": better(None)}
    with here.read() as connection:
        numbers = connection.execute(select(annotation.c.revision).order_by(annotation.c.id)).scalars().all()
    assert numbers == [0, 1, 2]


def test_error_refuses_items_that_are_there_and_what_belongs_to_them(two):
    here, there = two
    answered(there, "bob", [better("r1")])
    done = merged(here, lines(there), "error")
    assert done.refused == [(name, f"there is an item {name} already") for name in ("i0", "i1")]
    assert said(here)["i0"] == {"ann": better("r0")}


def test_other_texts_and_other_questions_are_conflicts(two):
    here, _ = two
    rows = lines(here)
    first = next(row for row in rows if row["kind"] == "item")
    first["prompt"][0]["content"] = "Another question?"
    [(name, reason)] = merged(here, rows).refused
    assert (name, reason) == ("i0", "it has other texts here; what people said of it in the file stays out")
    rows = lines(here)
    rows[1]["questions"] = {"preference": {"strength": 5}}
    answer = next(row for row in rows if row["kind"] == "answer")
    answer |= {"username": "bob", "client_key": "other"}
    [(_, reason)] = merged(here, rows).refused
    assert "no version here asks what version 1 of the file asked" in reason


def test_a_decision_comes_along_and_one_that_is_here_stands(two):
    here, there = two
    for db, winner in ((there, "r1"), (here, "r0")):
        boss = person(db, "boss", member="adjudicator")
        with db.read() as connection:
            public = connection.execute(select(item.c.public_id).where(item.c.external_id == "i0")).scalar_one()
        adjudicating.adjudicate(db, boss.actor, public, better(winner), "other")
    of_here = lines(here)
    assert merged(here, lines(there)).refused == [("i0", "it was decided otherwise here; that decision stands")]
    assert merged(there, of_here, "update").taken == {"decisions": 1}
    with there.read() as connection:
        rows = connection.execute(select(adjudication).order_by(adjudication.c.id)).all()
    assert [(row.value["preference"]["winner"], row.superseded_by) for row in rows] == [
        ("r1", rows[1].id),
        ("r0", None),
    ]


def test_a_file_without_earlier_revisions_is_read(two, tmp_path):
    """Into a project that is there, and as a project of its own."""
    here, _ = two
    revised(here, "ann", better("r1"), "second")
    *rows, end = [row for row in lines(here) if row.get("revision") != 0]
    rows.append({**end, "rows": len(rows)})
    other = Database(str(tmp_path / "third.db"))
    with other.write() as connection:
        native.restore(connection, rows, CLI)
    assert said(other)["i0"] == {"ann": better("r1")}
    assert merged(here, rows).there == {"answers": 1}
    with pytest.raises(UserError, match="some are lost"):
        merged(here, [*rows[:-2], rows[-1]])
    with pytest.raises(UserError, match="cut off"):
        merged(here, rows[:-1])
    other.close()


def test_the_command_tells_the_counts(two, tmp_path, capsys):
    here, there = two
    answered(there, "bob", [better("r1")])
    (tmp_path / "there.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines(there)))
    words = ["label", "import", "p", str(tmp_path / "there.jsonl"), "--format", "native"]
    assert main([*words, "--db", str(tmp_path / "labels.db")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 items added, 0 updated, 2 were there already.",
        "1 answers taken over, 1 were there already.",
    ]
    assert said(here)["i0"] == {"ann": better("r0"), "bob": better("r1")}


def test_an_update_brings_the_sources_too(sqlite):
    make_project(sqlite, 1)
    changed = pair(0)
    changed.responses[1].source = "model-new"
    changed.responses[0].source = None
    with sqlite.write() as connection:
        assert items.add_items(connection, "p", [changed], on_conflict="update").updated == 1
        sources = connection.execute(select(response.c.source).order_by(response.c.id)).scalars().all()
    assert sources == ["model-yes", "model-new"]  # what is not named is kept
