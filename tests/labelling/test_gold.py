"""Answers that are known: how far one may be from them, who is paused, and which settings can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import select

from heedful.labelling import gold, projects, quality, versions, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.events import verify
from heedful.labelling.projects import get_project, questions_of, settings_of
from heedful.labelling.settings import ProjectSettings
from heedful.labelling.tables import event
from heedful.labelling.work import Refused
from heedful.types import UserError
from tests.labelling.conftest import better, make_project, pair, person

GRADES = {"rating": {"dimensions": {"help": {}, "tone": {}}}}


def graded(help_: int, tone: int = 3) -> dict:
    return {"rating": {key: {"help": help_, "tone": tone} for key in ("r0", "r1")}}


def known(num: int, expected: dict) -> list:
    """Gold, and as much work."""
    return [*(pair(number, gold=expected) for number in range(num)), *(pair(100 + number) for number in range(num))]


def answer(db: Database, who: Account, values: Sequence[dict]) -> list[work.Submitted]:
    given = []
    for value in values:
        task = work.claim(db, who, "p")
        assert task is not None
        given.append(work.submit(db, who, task.slot, task.lease_token, task.slot, value))
    return given


def accuracy(db: Database) -> dict[str, int]:
    with db.read() as connection:
        found = get_project(connection, "p")
        rows = quality.labellers(connection, found)
        counted = gold.by_labeller(connection, gold.answers(connection, found))
    assert [(row["labeller"], row["gold"]) for row in rows] == [
        (row["labeller"], {"right": row["right"], "n": row["n"]}) for row in counted
    ]
    return {row["labeller"]: row["gold"]["right"] for row in rows}


def test_a_grade_within_its_tolerance_is_right(db):
    """3 is expected of help and of tone; help may be off by one: of 2, 3, 4, 5 three are right."""
    found = make_project(db, new_items=known(5, graded(3)), questions=GRADES, gold_rate=1.0)
    ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
    answer(db, ann, [graded(grade) for grade in (2, 3, 4, 5)])
    answer(db, bob, [graded(3, tone=4)])
    assert accuracy(db) == {"ann": 1, "bob": 0}
    settings = found.settings.model_copy(update={"gold_tolerance": {"rating.help": 1}})
    with db.write() as connection:
        versions.add_version(connection, "p", found.questions, "", settings)
    assert accuracy(db) == {"ann": 3, "bob": 0}


def test_who_learns_is_told_by_the_same_measure(sqlite):
    make_project(
        sqlite,
        new_items=known(2, graded(3)),
        questions=GRADES,
        gold_rate=1.0,
        gold="training",
        gold_tolerance={"rating.help": 1},
    )
    given = answer(sqlite, person(sqlite, "ann", member="annotator"), [graded(4), graded(5)])
    assert [one.feedback and one.feedback["right"] for one in given] == [True, False]


class TestPausing:
    LIMITS: ClassVar[dict] = {"gold_rate": 1.0, "pause_below": 0.5, "pause_after": 4}

    def paused(self, db: Database, who: Account) -> bool:
        with db.read() as connection:
            found = get_project(connection, "p")
            assert verify(connection)[1] is None
            return projects.member_of(connection, who, found.id).paused

    def test_at_the_wrong_answer_that_is_one_too_many(self, db):
        """Right, wrong, wrong, wrong: 1 of 4 is less than a half.  Before, there were not four."""
        make_project(db, new_items=known(6, better("r0")), **self.LIMITS)
        ann = person(db, "ann", member="annotator")
        answer(db, ann, [better("r0"), better("r1"), better("r1")])
        assert not self.paused(db, ann)
        answer(db, ann, [better("r1")])
        assert self.paused(db, ann)
        with pytest.raises(Refused, match="you are paused"):
            work.claim(db, ann, "p")
        with db.read() as connection:
            last = connection.execute(select(event).order_by(event.c.id.desc())).first()
        assert last is not None
        assert (last.via, last.verb, last.actor_user_id) == ("gold", "project.member", None)
        assert last.data == {"user": "ann", "paused": True}

    def test_a_half_is_not_less_than_a_half_and_only_the_last_count(self, db):
        make_project(db, new_items=known(8, better("r0")), **self.LIMITS)
        ann = person(db, "ann", member="annotator")
        answer(db, ann, [better(f"r{wrong}") for wrong in (1, 1, 0, 0, 0, 1, 1)])
        assert not self.paused(db, ann)  # of the last four: right, right, wrong, wrong
        answer(db, ann, [better("r1")])
        assert self.paused(db, ann)

    def test_who_is_let_in_again_works_until_the_next_wrong_one(self, db):
        make_project(db, new_items=known(7, better("r0")), **self.LIMITS)
        ann = person(db, "ann", member="annotator")
        answer(db, ann, [better("r1")] * 4)
        with db.write() as connection:
            projects.pause_member(connection, "p", "ann", paused=False)
        answer(db, ann, [better("r0")])
        assert not self.paused(db, ann)
        answer(db, ann, [better("r1")])
        assert self.paused(db, ann)

    @pytest.mark.parametrize(
        "settings",
        [{**LIMITS, "gold": "training"}, {**LIMITS, "pause_below": 0.0}, {**LIMITS, "gold_rate": 0.0}],
        ids=["they learn", "nobody is to be", "nothing was known"],
    )
    def test_nobody_is(self, sqlite, settings):
        make_project(sqlite, new_items=known(5, better("r0")), **settings)
        ann = person(sqlite, "ann", member="annotator")
        answer(sqlite, ann, [better("r1")] * 5)
        assert not self.paused(sqlite, ann)

    def test_a_tolerance_pauses_nobody_who_is_near(self, sqlite):
        limits = {**self.LIMITS, "pause_below": 1.0, "gold_tolerance": {"rating.help": 1}}
        make_project(sqlite, new_items=known(5, graded(3)), questions=GRADES, **limits)
        ann = person(sqlite, "ann", member="annotator")
        answer(sqlite, ann, [graded(4)] * 4)
        assert not self.paused(sqlite, ann)
        answer(sqlite, ann, [graded(5)])
        assert self.paused(sqlite, ann)


@pytest.mark.parametrize(
    ("asked", "tolerance", "said"),
    [
        ({"rating": {}}, {"rating.qualty": 1}, "no grade 'rating.qualty' is asked; did you mean rating.quality?"),
        ({"rating": {}}, {"quality": 1}, r"\(there are: rating.quality\)"),
        ({"rating": {}}, {"rating.quality": 4}, "must be at most 3, since by 4 every answer is right"),
        ({"preference": {}}, {"strength": 1}, r"no grade 'strength' is asked \(there are none\)"),
        ({"preference": {"strength": 3}}, {"strength": 2}, "strength must be at most 1"),
        ({"safety": {"severity": False}}, {"severity": 1}, "no grade 'severity'"),
    ],
)
def test_a_tolerance_that_means_nothing_is_refused(sqlite, asked, tolerance, said):
    settings = settings_of({"gold_tolerance": tolerance})
    with pytest.raises(UserError, match=said), sqlite.write() as connection:
        versions.create_project(connection, "p", questions_of(asked), settings=settings)
    with sqlite.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM project").scalar() == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gold_tolerance": {"ranking": -1}}, "gold_tolerance.ranking: must be at least 0"),
        ({"gold_tolerance": {"ranking": 0.5}}, "gold_tolerance.ranking: "),
        ({"gold_tolerance": 1}, "gold_tolerance: "),
        ({"pause_below": 1.5}, "pause_below: must be at most 1"),
        ({"pause_after": 0}, "pause_after: must be at least 1"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(UserError, match=said):
        settings_of(settings)


def test_every_setting_is_described_where_people_look():
    page = (Path(__file__).parents[2] / "docs" / "labelling.md").read_text(encoding="utf-8")
    for name, setting in ProjectSettings.model_fields.items():
        told = "none" if setting.default is None else str(setting.default).lower()
        if told.endswith(".0"):
            told = f"{setting.default:g}"
        assert f"| `{name}` | {told} | {setting.description} |" in page
