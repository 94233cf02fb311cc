"""Claims, leases, answers: on both databases, also with many at once."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter

import pytest
from sqlalchemy import func, select, update

from heedful.labelling import items, projects, slots, versions, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.events import CLI, verify
from heedful.labelling.tables import annotation, item, membership, skip, slot
from heedful.labelling.work import Refused
from tests.labelling.conftest import make_project, pair, person

LEFT = {"preference": {"winner": "r0"}}


def answer(db: Database, who: Account, task: work.Task, value=None, **more):
    return work.submit(db, who, task.slot, task.lease_token, secrets.token_hex(8), value or LEFT, **more)


def work_off(db: Database, who: Account, slug: str = "p") -> int:
    done = 0
    while (task := work.claim(db, who, slug)) is not None:
        answer(db, who, task)
        done += 1
    return done


class TestClaim:
    def test_everything_is_answered_as_often_as_asked_by_others_each_time(self, db):
        make_project(db, 4, overlap=2)
        people = [person(db, name, member="annotator") for name in ("ann", "bob", "cid")]
        assert [work_off(db, who) for who in people] == [4, 4, 0]
        with db.read() as connection:
            assert work.progress(connection, people[0], "p") == work.Progress(4, 8, 8)
            assert set(connection.execute(select(item.c.state)).scalars()) == {"complete"}

    def test_ones_own_unfinished_item_comes_first_with_its_draft(self, db):
        make_project(db)
        ann = person(db, "ann", member="annotator")
        first = work.claim(db, ann, "p")
        assert first is not None
        work.save_draft(db, ann, first.slot, first.lease_token, LEFT)
        again = work.claim(db, ann, "p")
        assert again is not None
        assert (again.slot, again.lease_token, again.draft) == (first.slot, first.lease_token, LEFT)
        assert [one.key for one in again.responses] == [one.key for one in first.responses]

    def test_a_lease_that_ran_out_goes_to_somebody_else_and_the_draft_stays(self, db):
        make_project(db, 1, lease_s=1000)
        ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        work.save_draft(db, ann, task.slot, task.lease_token, LEFT)
        assert work.claim(db, bob, "p") is None
        with db.write() as connection:
            connection.execute(update(slot).values(lease_until=1.0))
        taken = work.claim(db, bob, "p")
        assert taken is not None
        assert taken.slot == task.slot
        with pytest.raises(Refused, match="went to somebody else") as refused:
            answer(db, ann, task)
        assert refused.value.status == 409
        answer(db, bob, taken)

    def test_strangers_the_paused_and_closed_projects_get_nothing(self, db):
        make_project(db)
        ann, eve = person(db, "ann", member="annotator"), person(db, "eve")
        with pytest.raises(Refused, match="no member"):
            work.claim(db, eve, "p")
        with db.write() as connection:
            projects.set_member(connection, "p", "ann", paused=True)
        with pytest.raises(Refused, match="paused"):
            work.claim(db, ann, "p")
        with db.write() as connection:
            projects.set_member(connection, "p", "ann")
            projects.set_state(connection, "p", "closed")
        with pytest.raises(Refused, match="closed"):
            work.claim(db, ann, "p")

    def test_a_quota_ends_the_work(self, db):
        make_project(db, 5)
        ann = person(db, "ann", member="annotator")
        with db.write() as connection:
            projects.set_member(connection, "p", "ann", quota=2)
        assert work_off(db, ann) == 2

    @pytest.mark.parametrize("assign", ["order", "random", "fewest_first", "priority"])
    def test_the_order_of_work(self, sqlite, assign):
        make_project(sqlite, new_items=[pair(n, priority=float(n)) for n in range(4)], overlap=2, assign=assign)
        ann, bob = person(sqlite, "ann", member="annotator"), person(sqlite, "bob", member="annotator")
        asked = []
        for who in (ann, bob, ann):
            task = work.claim(sqlite, who, "p")
            assert task is not None
            asked.append(task.prompt[0]["content"])
            answer(sqlite, who, task)
        want = {"order": ["0", "0", "1"], "fewest_first": ["0", "1", "2"], "priority": ["3", "3", "2"]}
        if assign == "random":  # by a hash of the name: the same for both
            assert asked[0] == asked[1] != asked[2]
        else:
            assert asked == [f"Question {number}?" for number in want[assign]]

    def test_an_item_added_before_where_one_is_comes_all_the_same(self, sqlite):
        make_project(sqlite, new_items=[pair(0, priority=1.0)], assign="priority")
        ann = person(sqlite, "ann", member="annotator")
        assert work_off(sqlite, ann) == 1
        with sqlite.write() as connection:
            items.add_items(connection, "p", [pair(1, priority=9.0)])
        assert work_off(sqlite, ann) == 1


class TestSubmit:
    def test_the_same_answer_sent_again_is_the_same_answer(self, db):
        make_project(db)
        ann = person(db, "ann", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        first = work.submit(db, ann, task.slot, task.lease_token, "key", LEFT)
        again = work.submit(db, ann, task.slot, task.lease_token, "key", LEFT)
        assert (again.annotation, again.duplicate) == (first.annotation, True)
        with pytest.raises(Refused, match="answered already"):
            work.submit(db, ann, task.slot, task.lease_token, "other", LEFT)
        with db.read() as connection:
            assert connection.execute(select(func.count()).select_from(annotation)).scalar() == 1

    def test_what_does_not_answer_is_refused_and_the_lease_stays(self, db):
        make_project(db)
        ann = person(db, "ann", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        with pytest.raises(Refused, match="preference: an answer is missing") as refused:
            work.submit(db, ann, task.slot, task.lease_token, "key", {"preference": None})
        assert refused.value.status == 422
        answer(db, ann, task)

    def test_too_fast_an_answer_is_marked(self, sqlite):
        make_project(sqlite)
        ann = person(sqlite, "ann", member="annotator")
        for wall in (200, 9000):
            task = work.claim(sqlite, ann, "p")
            assert task is not None
            answer(sqlite, ann, task, wall_ms=wall)
        with sqlite.read() as connection:
            suspect = connection.execute(select(annotation.c.suspect).order_by(annotation.c.id)).scalars().all()
        assert suspect == [["too fast"], []]

    def test_items_on_which_people_differ_are_disputed(self, sqlite):
        make_project(sqlite, 2, overlap=2)
        for name, winner in (("ann", "r0"), ("bob", "r1")):
            who = person(sqlite, name, member="annotator")
            for number in range(2):
                task = work.claim(sqlite, who, "p")
                assert task is not None
                answer(sqlite, who, task, {"preference": {"winner": winner if number else "r0"}})
        with sqlite.read() as connection:
            states = connection.execute(select(item.c.state).order_by(item.c.position)).scalars().all()
        assert states == ["complete", "disputed"]


class TestSecondThoughts:
    def test_a_revision_keeps_what_was_said(self, db):
        make_project(db)
        ann = person(db, "ann", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        first = answer(db, ann, task).annotation
        second = work.revise(db, ann, first, {"preference": {"winner": "r1"}}, "again").annotation
        with db.read() as connection:
            rows = connection.execute(select(annotation).order_by(annotation.c.revision)).all()
            assert [(row.revision, row.is_current, row.value["preference"]["winner"]) for row in rows] == [
                (0, False, "r0"),
                (1, True, "r1"),
            ]
            assert [row["annotation"] for row in work.mine(connection, ann, "p")] == [second]
        with pytest.raises(Refused, match="changed already"):
            work.revise(db, ann, first, LEFT, "third")

    def test_only_the_last_answers_can_be_changed(self, sqlite):
        make_project(sqlite, undo_window=1)
        ann = person(sqlite, "ann", member="annotator")
        done = []
        for _ in range(2):
            task = work.claim(sqlite, ann, "p")
            assert task is not None
            done.append(answer(sqlite, ann, task).annotation)
        with pytest.raises(Refused, match="only your last 1"):
            work.revise(sqlite, ann, done[0], LEFT, "a")
        work.revise(sqlite, ann, done[1], LEFT, "b")

    def test_what_was_skipped_never_comes_back_and_goes_to_another(self, db):
        make_project(db, 1)
        ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        work.skip_task(db, ann, task.slot, task.lease_token, "unclear", "odd")
        assert work.claim(db, ann, "p") is None
        with db.read() as connection:
            assert connection.execute(select(skip.c.reason)).scalars().all() == ["unclear"]
        assert work_off(db, bob) == 1

    def test_nobody_acts_on_anothers_task(self, db):
        make_project(db)
        ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
        task = work.claim(db, ann, "p")
        assert task is not None
        for act in (
            lambda: answer(db, bob, task),
            lambda: work.skip_task(db, bob, task.slot, task.lease_token, "unclear"),
            lambda: work.heartbeat(db, bob, task.slot, task.lease_token),
            lambda: work.save_draft(db, bob, task.slot, task.lease_token, LEFT),
            lambda: work.save_draft(db, ann, task.slot, "guessed", LEFT),
        ):
            with pytest.raises(Refused):
                act()


class TestGoldAndRepeats:
    def test_gold_is_served_and_looks_like_any_item(self, db):
        known = [pair(100 + n, gold={"preference": {"winner": "r0"}}) for n in range(3)]
        make_project(db, new_items=[*(pair(n) for n in range(20)), *known], gold_rate=0.5)
        ann = person(db, "ann", member="annotator")
        assert work_off(db, ann) == 23
        with db.read() as connection:
            assert work.progress(connection, ann, "p") == work.Progress(23, 20, 20)
            kinds = connection.execute(
                select(item.c.kind).join(annotation, annotation.c.item_id == item.c.id).order_by(annotation.c.id)
            ).scalars()
            kinds = kinds.all()
        assert Counter(kinds) == {"normal": 20, "gold": 3}
        assert "gold" in kinds[:15]

    def test_training_says_what_was_expected(self, sqlite):
        known = pair(1, gold={"preference": {"winner": "r1"}}, explanation="No is shorter.")
        make_project(sqlite, new_items=[pair(0), known], gold_rate=1.0, gold="training")
        ann = person(sqlite, "ann", member="annotator")
        task = work.claim(sqlite, ann, "p")
        assert task is not None
        assert answer(sqlite, ann, task).feedback == {
            "right": False,
            "expected": {"preference": {"winner": "r1"}},
            "explanation": "No is shorter.",
        }

    def test_repetitions_are_items_of_their_own(self, db):
        make_project(db, 12, repeat_rate=0.4, repeat_after=3)
        ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
        done = work_off(db, ann)
        with db.read() as connection:
            asked = select(item.c.repeat_of).where(item.c.kind == "repeat")
            repeats = connection.execute(asked).scalars().all()
        assert 1 <= len(repeats) == done - 12
        assert len(set(repeats)) == len(repeats)
        assert work.claim(db, bob, "p") is None  # nobody else is given them

    def test_a_repetition_that_was_skipped_does_not_come_again_and_work_goes_on(self, db):
        make_project(db, 12, repeat_rate=0.5, repeat_after=1)
        ann = person(db, "ann", member="annotator")
        seen, skipped = Counter(), 0
        while (task := work.claim(db, ann, "p")) is not None:
            seen[task.prompt[0]["content"]] += 1
            if seen[task.prompt[0]["content"]] == 1:
                answer(db, ann, task)
            else:
                work.skip_task(db, ann, task.slot, task.lease_token, "other")
                skipped += 1
        assert (len(seen), max(seen.values())) == (12, 2)
        assert skipped > 2


class TestManyAtOnce:
    @pytest.mark.slow
    def test_never_more_answers_than_wanted_never_twice_the_same_person_none_lost(self, db):
        num_items, overlap, threads = 30, 3, 12
        make_project(db, num_items, overlap=overlap)
        people = [person(db, f"u{n}", member="annotator") for n in range(6)]
        acknowledged, failures, lock = Counter(), [], threading.Lock()

        def labeller(number: int) -> None:
            draw, who = random.Random(number), people[number % len(people)]  # two tabs each
            try:
                while (task := work.claim(db, who, "p")) is not None:
                    key = secrets.token_hex(8)
                    try:
                        for _ in range(draw.randint(1, 2)):
                            done = work.submit(db, who, task.slot, task.lease_token, key, LEFT)
                    except Refused as refused:  # the other tab was first
                        if refused.status != 409:
                            failures.append(refused)
                        continue
                    with lock:
                        acknowledged[done.annotation] += 1
            except Exception as problem:
                failures.append(problem)

        workers = [threading.Thread(target=labeller, args=(n,)) for n in range(threads)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
        assert not failures
        with db.read() as connection:
            rows = connection.execute(select(annotation.c.item_id, annotation.c.user_id, annotation.c.public_id)).all()
            counted = connection.execute(select(func.sum(membership.c.num_done))).scalar()
            assert verify(connection)[1] is None
        assert set(Counter(row.item_id for row in rows).values()) == {overlap}
        assert len({(row.item_id, row.user_id) for row in rows}) == len(rows) == num_items * overlap == counted
        assert {row.public_id for row in rows} == set(acknowledged)


class TestOverlapChanges:
    def test_more_answers_are_asked_for_later(self, db):
        found = make_project(db, 2)
        ann, bob = person(db, "ann", member="annotator"), person(db, "bob", member="annotator")
        assert work_off(db, ann) == 2
        with db.write() as connection:
            settings = found.settings.model_copy(update={"overlap": 2})
            versions.add_version(connection, "p", found.questions, found.guidelines, settings)
        assert (work_off(db, ann), work_off(db, bob)) == (0, 2)

    def test_a_voided_item_is_given_to_nobody(self, db):
        make_project(db, 2)
        ann = person(db, "ann", member="annotator")
        with db.write() as connection:
            slots.void_item(connection, connection.execute(select(func.min(item.c.id))).scalar_one(), CLI)
        assert work_off(db, ann) == 1


def test_the_shuffle_is_fair_and_answers_are_of_responses_not_of_places(sqlite):
    make_project(sqlite, 200)
    ann = person(sqlite, "ann", member="annotator")
    first = Counter()
    while (task := work.claim(sqlite, ann, "p")) is not None:
        left = task.responses[0].key
        first[left] += 1
        answer(sqlite, ann, task, {"preference": {"winner": left}})  # somebody who always takes the left one
    # 100 expected, a standard deviation of 7
    assert 75 < first["r0"] < 125
    with sqlite.read() as connection:
        won = Counter(row["preference"]["winner"] for row in connection.execute(select(annotation.c.value)).scalars())
    assert won == first
