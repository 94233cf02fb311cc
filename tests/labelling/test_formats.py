"""Training data out of a project, other tools' files both ways, and the whole project out and in again."""

from __future__ import annotations

import csv
import json
from collections import Counter
from xml.etree import ElementTree

import pytest
from sqlalchemy import select

from heedful.examples.readers.own import example_of
from heedful.examples.shape import Dropped
from heedful.labelling import adjudicating, agreement_tables, importing, items, projects, quality, versions, work
from heedful.labelling.consensus import decide, gather
from heedful.labelling.database import Database, now
from heedful.labelling.events import CLI
from heedful.labelling.export_files import write
from heedful.labelling.exporting import Asked, export
from heedful.labelling.formats import native
from heedful.labelling.formats.examples import from_example
from heedful.labelling.formats.training import Shape
from heedful.labelling.frames import from_frame, to_pandas
from heedful.labelling.hub_folder import write_hub_folder
from heedful.labelling.importing import Columns
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.projects import questions_of
from heedful.labelling.tables import item
from heedful.types import Example, Message, Response, Span, UserError
from tests.labelling.conftest import answered, better, make_project, pair, person

SAFE = {"is_safe": True, "harms": [], "severity": 0}
UNSAFE = {"is_safe": False, "harms": ["Drugs"], "severity": 2}


def exported(db: Database, form: str = "trl", **asked):
    with db.read() as connection:
        return export(connection, "p", Asked(form, **asked))


class TestMajorityInTheExport:
    def test_pairs_ties_and_undecided(self, sqlite):
        make_project(sqlite, 4, overlap=2, questions={"preference": {"strength": 3}})
        yes, no, tie = better("r0", strength=3), better("r1", strength=1), better(None)
        answered(sqlite, "ann", [yes, yes, tie, {"preference": {"winner": None, "outcome": "both_bad"}}])
        answered(
            sqlite, "bob", [better("r0", strength=1), no, tie, {"preference": {"winner": None, "outcome": "both_bad"}}]
        )
        done = exported(sqlite)
        [row] = done.rows
        assert [row["chosen"][0]["content"], row["rejected"][0]["content"]] == ["yes 0", "no 0"]
        assert row["meta"] | {"group": ""} == {
            "item": "i0", "group": "", "project": "p", "version": 1, "n": 2, "method": "majority",
            "agreement": 1.0, "confidence": 1.0,
            "chosen_source": "model-yes", "rejected_source": "model-no", "strength": 2.0,
        }  # fmt: skip
        left_out = {"a tie": 1, "both responses are bad": 1, "the votes are tied": 1}
        assert (done.manifest["left_out"], done.manifest["items"]) == (left_out, {"in": 4, "out": 1})
        soft = exported(sqlite, shape=Shape(ties="soft"))
        assert [row.get("p_0") for row in soft.rows] == [None, 0.5]
        margin = exported(sqlite, shape=Shape(margin=True))
        assert margin.rows[0]["margin"] == 2.0

    def test_the_same_answers_give_the_same_bytes(self, sqlite, tmp_path):
        make_project(sqlite, 3)
        answered(sqlite, "ann", [better("r0")] * 3)
        began = now()
        for form in ("trl", "native"):
            one, other = exported(sqlite, form), exported(sqlite, form)
            assert began <= one.manifest.pop("at") <= other.manifest.pop("at") <= now()
            assert (one.lines, one.manifest) == (other.lines, other.manifest)
            assert (one.manifest["versions"], one.manifest["answers"], one.manifest["labellers"]) == ([1], 3, 1)
        assert one.manifest["kinds"] == {"answer": 3, "end": 1, "item": 3, "project": 1, "user": 1, "version": 1}
        assert exported(sqlite, as_of=began).manifest["at"] == began
        with sqlite.write() as connection:
            written = write(one, tmp_path / "out.jsonl", connection)
        assert [path.name for path in written] == ["out.jsonl", "out.manifest.json"]
        kept = json.loads(written[1].read_text())
        assert kept["sha256"]["train"]
        assert kept["questions"] == {"preference": exported(sqlite).manifest["questions"]["preference"]}

    def test_as_of_an_earlier_time(self, sqlite):
        make_project(sqlite, 1)
        answered(sqlite, "ann", [better("r0")])
        with sqlite.read() as connection:
            moment = gather(connection, projects.get_project(connection, "p"), times=True)[0].answers[0].at
            who = work.mine  # the answer is changed afterwards
        ann = next(iter([person_of(sqlite, "ann")]))
        with sqlite.read() as connection:
            [given] = who(connection, ann, "p")
        work.revise(sqlite, ann, given["annotation"], better("r1"), "again")
        assert exported(sqlite).rows[0]["chosen"][0]["content"] == "no 0"
        assert exported(sqlite, as_of=moment).rows[0]["chosen"][0]["content"] == "yes 0"

    def test_an_adjudication_overrides_all_votes(self, sqlite):
        from heedful.labelling.adjudicating import adjudicate, queue

        make_project(sqlite, 1, overlap=3)
        for name, winner in (("ann", "r0"), ("bob", "r0"), ("cid", "r1")):
            answered(sqlite, name, [better(winner)])
        boss = person(sqlite, "boss", member="adjudicator")
        with sqlite.read() as connection:
            from sqlalchemy import select

            from heedful.labelling.tables import item

            [one] = queue(connection, projects.get_project(connection, "p"))
            public = connection.execute(select(item.c.public_id)).scalar_one()
        assert one.n == 3
        adjudicate(sqlite, boss.actor, public, better("r1"), "annotator_error")
        [row] = exported(sqlite).rows
        assert (row["chosen"][0]["content"], row["meta"]["method"]) == ("no 0", "adjudicated")

    def test_one_coin_weighs_people(self, sqlite):
        num = 60
        make_project(sqlite, num, overlap=3)
        answered(sqlite, "good", [better("r0")] * num)
        answered(sqlite, "also", [better("r0" if n % 10 else "r1") for n in range(num)])
        answered(sqlite, "coin", [better("r0" if n % 2 else "r1") for n in range(num)])
        done = exported(sqlite, aggregate="onecoin", min_confidence=0.9)
        assert {row["chosen"][0]["content"].split()[0] for row in done.rows} == {"yes"}
        assert done.manifest["left_out"].get("confidence below 0.9", 0) < num / 4

    def test_ones_own_aggregation(self, sqlite):
        make_project(sqlite, 2, overlap=2)
        answered(sqlite, "ann", [better("r0"), better("r1")])
        answered(sqlite, "bob", [better("r1"), better("r0")])

        def ann_is_right(found):
            for one in found:
                one.value = next(answer.value for answer in one.answers if answer.labeller == "ann")

        rows = exported(sqlite, aggregate=ann_is_right).rows
        assert [row["meta"]["method"] for row in rows] == ["own", "own"]

    def test_doubles_and_contradictions(self, sqlite):
        same = [pair(0), pair(0), pair(0)]
        for number, one in enumerate(same):
            one.external_id = f"same-{number}"
        make_project(sqlite, new_items=[*same[:2], pair(5)])
        answered(sqlite, "ann", [better("r0"), better("r1"), better("r0")])
        done = exported(sqlite)
        assert len(done.rows) == 1
        assert done.manifest["left_out"] == {"another item with the same texts came to the contrary": 2}

    def test_the_split_goes_by_prompt(self, sqlite):
        questions = [NewItem([Message("user", f"q{n % 20}")], [NewResponse([Message("assistant", f"{n} {s}")])
                     for s in "ab"], f"i{n}") for n in range(60)]  # fmt: skip
        make_project(sqlite, new_items=questions)
        answered(sqlite, "ann", [better("r0")] * 60)
        done = exported(sqlite, split=0.4)
        sides = [{row["prompt"][0]["content"] for row in rows} for rows in (done.rows, done.held_out)]
        assert sides[0].isdisjoint(sides[1])
        assert len(sides[0] | sides[1]) == 20
        assert all(sides)
        assert len(done.rows) + len(done.held_out) == 60


def person_of(db: Database, name: str):
    from heedful.labelling.accounts import Account, find_user

    with db.read() as connection:
        return Account(find_user(connection, name), name, name, "annotator")


class TestRankings:
    def rank(self, *ranks: int) -> dict:
        return {"ranking": {"ranks": {f"r{n}": rank for n, rank in enumerate(ranks)}}}

    def test_ties_are_never_pairs(self, sqlite):
        four = NewItem([Message("user", "q")], [NewResponse([Message("assistant", t)]) for t in "abcd"], "x")
        make_project(sqlite, new_items=[four], questions={"ranking": {}})
        answered(sqlite, "ann", [self.rank(1, 2, 2, 4)])
        pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in exported(sqlite).rows]
        assert sorted(pairs) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")]
        assert {row["meta"]["pairs_in_group"] for row in exported(sqlite).rows} == {5}
        best_worst = exported(sqlite, shape=Shape(pairs="best_worst")).rows
        assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in best_worst] == [("a", "d")]
        [example] = exported(sqlite, "heedful").rows
        assert [one["rank"] for one in example["responses"]] == [1, 2, 2, 4]

    def test_ties_survive_argilla(self, sqlite):
        make_project(sqlite, 1, questions={"ranking": {}})
        answered(sqlite, "ann", [self.rank(1, 1)])
        [record] = exported(sqlite, "argilla").rows
        [given] = record["responses"]["ranking"]
        assert given["value"] == [{"value": "r0", "rank": 1}, {"value": "r1", "rank": 1}]


class TestSafety:
    def test_the_columns_of_pku(self, sqlite):
        make_project(sqlite, 2, questions={"preference": {}, "safety": {}})
        said = {**better("r1"), "safety": {"r0": SAFE, "r1": UNSAFE}, "safer": {"winner": "r0"}}
        answered(sqlite, "ann", [said, {**said, **better(None)}])
        done = exported(sqlite, "safe-rlhf")
        [row] = done.rows
        assert (row["better_response_id"], row["safer_response_id"]) == (1, 0)
        assert (row["is_response_0_safe"], row["is_response_1_safe"]) == (True, False)
        assert [name for name, there in row["response_1_harm_category"].items() if there] == ["Drugs"]
        assert (len(row["response_0_harm_category"]), row["response_1_severity_level"]) == (19, 2)
        assert done.manifest["left_out"] == {"a tie": 1}
        harmful = exported(sqlite, shape=Shape(question="safer", direction="harmful"))
        assert harmful.rows[0]["chosen"][0]["content"] == "no 0"
        assert harmful.manifest["direction"] == "chosen is the more harmful response"

    def test_our_own_reader_reads_it(self, sqlite, tmp_path):
        from heedful.examples import load

        make_project(sqlite, 1, questions={"preference": {}, "safety": {}})
        answered(sqlite, "ann", [{**better("r1"), "safety": {"r0": SAFE, "r1": UNSAFE}, "safer": {"winner": "r0"}}])
        for form in ("safe-rlhf", "heedful", "trl"):
            done = exported(sqlite, form)
            (tmp_path / f"{form}.jsonl").write_bytes(b"".join(done.lines))
            [example] = load(str(tmp_path / f"{form}.jsonl"))
            assert example.responses[example.better].text == "no 0", form
            if form != "trl":
                assert [one.safe for one in example.responses] == [True, False]
                assert example.safer == 0


class TestKto:
    def test_thumbs_and_on_request_preferences(self, sqlite):
        make_project(sqlite, 1, questions={"preference": {}, "thumbs": {}})
        answered(sqlite, "ann", [{**better("r0"), "thumbs": {"r0": False, "r1": False}}])
        assert [row["label"] for row in exported(sqlite, "kto").rows] == [False, False]
        done = exported(sqlite, "kto", shape=Shape(labels_from="preference"))
        assert [(row["completion"][0]["content"], row["label"]) for row in done.rows] == [
            ("yes 0", True),
            ("no 0", False),
        ]
        assert done.manifest["labels"] == {"desirable": 1, "undesirable": 1}


EVERYTHING = {
    "preference": {"strength": 2},
    "ranking": {},
    "rating": {"dimensions": {"help": {}}},
    "thumbs": {},
    "safety": {},
    "rationale": {},
    "confidence": {},
}
FULL_ANSWER = {
    "preference": {"winner": "r1", "strength": 2},
    "ranking": {"ranks": {"r0": 2, "r1": 1}},
    "rating": {"r0": {"help": 2}, "r1": {"help": 5}},
    "thumbs": {"r0": False, "r1": True},
    "safety": {"r0": UNSAFE, "r1": SAFE},
    "safer": {"winner": "r1"},
    "rationale": "It is shorter.",
    "confidence": 4,
}


def whole(db: Database, slug: str) -> list[dict]:
    """All that other tools can hold of a project's items."""
    with db.read() as connection:
        found = projects.get_project(connection, slug)
        listed = gather(connection, found, kinds=("normal", "gold"), times=True, beside=True)
    return [
        {
            "item": [one.external_id, one.kind, one.prompt, one.meta, one.group],
            "responses": [(r.key, r.content, r.source) for r in one.responses],
            "answers": [(a.labeller, a.value) for a in one.answers],
            "skips": list(one.beside.skips),
            "gold": (one.beside.gold, one.beside.explanation),
            "suggestions": list(one.beside.suggestions),
        }
        for one in listed
    ]


def read_back(db, done, folder, form: str) -> None:
    """An export into a project named q."""
    (folder / "file.jsonl").write_bytes(b"".join(done.lines))
    make_project(db, new_items=[], questions=EVERYTHING, slug="q", state="draft")
    with db.write() as connection:
        read = importing.read_items(str(folder / "file.jsonl"), form)
        items.add_items(connection, "q", importing.kept(read, []))


class TestThereAndBackAgain:
    @pytest.mark.parametrize("form", ["argilla", "label-studio"])
    def test_answers_survive_other_tools(self, sqlite, tmp_path, form):
        make_project(sqlite, 2, questions=EVERYTHING, overlap=2)
        answered(sqlite, "ann", [FULL_ANSWER, None])
        answered(sqlite, "bob", [FULL_ANSWER, {**FULL_ANSWER, "preference": {"winner": None, "outcome": "tie"},
                                               "ranking": {"ranks": {"r0": 1, "r1": 1}}}])  # fmt: skip
        done = exported(sqlite, form)
        (tmp_path / "file.jsonl").write_bytes(b"".join(done.lines))
        assert list(done.files) == ["settings.json" if form == "argilla" else "config.xml"]
        make_project(sqlite, new_items=[], questions=EVERYTHING, overlap=2, slug="q", state="draft")
        refused: list[tuple[str, str]] = []
        with sqlite.write() as connection:
            read = importing.kept(importing.read_items(str(tmp_path / "file.jsonl"), form), refused)
            added = items.add_items(connection, "q", read)
            assert (added.added, added.answers, added.refused, refused) == (2, 3, [], [])
        before, after = (whole(sqlite, slug) for slug in "pq")
        assert before == after
        assert [one["skips"] for one in before] == [[], [("ann", "unclear", "")]]

    def test_label_studio_holds_skips_and_gold(self, sqlite, tmp_path):
        """Of an item that is known, and one that nobody answered."""
        known = pair(9, gold=FULL_ANSWER, explanation="It is longer.", meta={"k": {"deep": [1]}})
        make_project(sqlite, new_items=[known, pair(0)], questions=EVERYTHING, gold_rate=1.0)
        ann = person(sqlite, "ann", member="annotator")
        task = work.claim(sqlite, ann, "p")
        work.submit(sqlite, ann, task.slot, task.lease_token, "k", FULL_ANSWER)
        bob = person(sqlite, "bob", member="annotator")
        task = work.claim(sqlite, bob, "p")
        work.skip_task(sqlite, bob, task.slot, task.lease_token, "language", "I do not read it.")
        task = work.claim(sqlite, ann, "p")
        work.skip_task(sqlite, ann, task.slot, task.lease_token, "unclear")
        done = exported(sqlite, "label-studio", include=("gold",))
        kinds = [
            [(one["was_cancelled"], one["ground_truth"], bool(one["result"])) for one in row["annotations"]]
            for row in done.rows
        ]
        answer, skipped, golden = (False, False, True), (True, False, False), (False, True, True)
        assert kinds == [[answer, skipped, golden], [skipped]]
        read_back(sqlite, done, tmp_path, "label-studio")
        before, after = (whole(sqlite, slug) for slug in "pq")
        assert before == after
        assert before[0]["gold"] == (FULL_ANSWER, "It is longer.")
        assert before[0]["skips"] == [("bob", "language", "I do not read it.")]

    def test_suggestions_survive_argilla(self, sqlite, tmp_path):
        """What answers questions that are asked; the rest is no suggestion there."""
        said = {name: FULL_ANSWER[name] for name in ("ranking", "rating", "thumbs", "safety", "safer")}
        small = {"preference": {"winner": "r0"}}
        first = pair(0, suggestions={"model": {**said, **small}}, scores={"model": 0.75})
        other = pair(1, suggestions={"data": {"preference": {"winner": None, "outcome": "tie"}}})
        wrong = {"preference": {"winner": "r7"}, "ranking": {"ranks": 3}, "scores": {"r0": 1.0}, "rationale": 7}
        new_items = [first, other, pair(2, suggestions={"m": wrong})]
        make_project(sqlite, new_items=new_items, questions=EVERYTHING, show_suggestions=True)
        answered(sqlite, "ann", [FULL_ANSWER] * 3)
        done = exported(sqlite, "argilla")
        assert done.rows[0]["suggestions"]["preference"] == {"value": "r0", "score": 0.75, "agent": "model"}
        assert len(done.rows[0]["suggestions"]) == 12
        assert done.rows[2]["suggestions"] == {}
        read_back(sqlite, done, tmp_path, "argilla")
        before, after = (whole(sqlite, slug) for slug in "pq")
        assert before[:2] == after[:2]
        assert before[0]["suggestions"] == [("model", {**said, **small}, 0.75)]

    def test_of_two_suggestions_argilla_gets_the_newest_and_no_strength_of_the_other(self, sqlite):
        older = {"preference": {"winner": "r0", "strength": 3}}
        known, asked = pair(0, suggestions={"old": older}), {"preference": {"strength": 3}}
        make_project(sqlite, new_items=[known], questions=asked, show_suggestions=True)
        again = pair(0, suggestions={"new": better("r1")})
        with sqlite.write() as connection:
            items.add_items(connection, "p", [again], on_conflict="update")
        answered(sqlite, "ann", [older])
        [row] = exported(sqlite, "argilla").rows
        assert row["suggestions"] == {"preference": {"value": "r1", "score": None, "agent": "new"}}

    def test_other_tools_labellers_see_no_more_than_ours(self, sqlite):
        make_project(sqlite, new_items=[from_example(full_example())])
        answered(sqlite, "ann", [better("r0")])
        [record], [task] = (exported(sqlite, name).rows for name in ("argilla", "label-studio"))
        assert record["suggestions"] == {}
        assert not any("heedful:data" in json.dumps(row) for row in (record, task))

    def test_a_strength_that_cannot_be_chosen_is_no_answer_there(self, sqlite):
        make_project(sqlite, 1)
        answered(sqlite, "ann", [{"preference": {"winner": "r0", "strength": 1}}])
        assert exported(sqlite, "argilla").rows[0]["responses"].keys() == {"preference"}

    def test_label_studios_configuration_is_that_of_the_tasks(self, sqlite):
        """Every result comes from a control of the configuration, and every text that it shows is in the task."""
        dimensions = {"help": {}, "tone": {"low": -2, "high": 2}}
        make_project(sqlite, 2, questions={**EVERYTHING, "rating": {"dimensions": dimensions}})
        graded = {key: {"help": 3, "tone": -2} for key in ("r0", "r1")}
        answered(sqlite, "ann", [{**FULL_ANSWER, "rating": graded}])
        done = exported(sqlite, "label-studio")
        view = ElementTree.fromstring(done.files["config.xml"])
        controls = {one.get("name"): (one.tag.lower(), one.get("toName")) for one in view if one.get("toName")}
        shown = {one.get("value", "").removeprefix("$") for one in view if one.get("value")}
        assert all(shown == set(row["data"]) for row in done.rows)
        results = [result for row in done.rows for one in row["annotations"] for result in one["result"]]
        assert len(results) == 17
        for one in results:
            assert controls[one["from_name"]] == (one["type"], one["to_name"])
        buckets = {one.get("name") for one in view.iter("Bucket")}
        assert {name for one in results if one["type"] == "ranker" for name in one["value"]["ranker"]} <= buckets

    def test_the_whole_project_comes_back(self, db):
        known = pair(9, gold={"preference": {"winner": "r0"}}, meta={"k": 1}, context={"page": "text"})
        make_project(db, new_items=[pair(0), pair(1), known], overlap=2, gold_rate=0.5, repeat_rate=0.2, repeat_after=1)
        answered(db, "ann", [better("r0"), better("r1"), better("r0")])
        answered(db, "bob", [better("r1"), None])
        ann = person_of(db, "ann")
        with db.read() as connection:
            given = work.mine(connection, ann, "p")[0]
        work.revise(db, ann, given["annotation"], better("r1"), "second thoughts")
        boss = person(db, "boss", member="adjudicator")
        with db.read() as connection:
            first = connection.execute(select(item.c.public_id).where(item.c.external_id == "i0")).scalar_one()
            project_id = projects.get_project(connection, "p").id
        for winner in ("r0", "r1", "r0"):
            adjudicating.adjudicate(db, boss.actor, first, better(winner), "other", "again")
        bob = person_of(db, "bob")
        task = work.claim(db, bob, "p")
        work.save_draft(db, bob, task.slot, task.lease_token, better("r1"))
        for comment in ("old", "new"):
            work.flag_task(db, bob, task.slot, task.lease_token, work.FLAG_KINDS[0], comment)
        assert adjudicating.resolve_flag(db, boss.actor, 1, project_id)
        with db.read() as connection:
            rows = list(native.rows(connection, projects.get_project(connection, "p")))
        decisions = [row["superseded_by"] for row in rows if row["kind"] == "adjudication"]
        assert decisions == [1, 2, None]
        assert [row["resolved_by"] for row in rows if row["kind"] == "flag"] == ["boss", None]
        assert [row["value"] for row in rows if row["kind"] == "draft"] == [better("r1")]
        with db.write() as connection:
            native.restore(connection, iter(json.loads(json.dumps(rows))), CLI, slug="q")
        with db.read() as connection:
            again = list(native.rows(connection, projects.get_project(connection, "q")))
            tables = [
                agreement_tables.agreement_in(connection, projects.get_project(connection, slug)) for slug in "pq"
            ]
            progress = [work.progress(connection, ann, slug) for slug in "pq"]

        def bare(listed):
            return [{k: v for k, v in row.items() if k not in ("slug", "client_key")} for row in listed]

        assert bare(again) == bare(rows)
        assert Counter(row["kind"] for row in rows)["answer"] == 5
        assert tables[0] == tables[1]
        assert progress[0] == progress[1]

    def test_files_of_before_come_back_too(self, sqlite):
        """They held neither drafts, nor earlier decisions, nor who looked at a report."""
        make_project(sqlite, 1, overlap=2)
        answered(sqlite, "ann", [better("r0")])
        with sqlite.read() as connection:
            *rows, end = native.rows(connection, projects.get_project(connection, "p"))
        about = {"item": "i0", "username": "ann", "at": 1.0}
        rows.append({"kind": "flag", **about, "flag_kind": "typo", "comment": "", "resolved_at": 2.0})
        decision = {"kind": "adjudication", **about, "value": better("r1"), "category": "other", "note": ""}
        rows.append(decision)
        with sqlite.write() as connection:
            native.restore(connection, [*rows, {**end, "rows": len(rows)}], CLI, slug="q")
        with sqlite.read() as connection:
            *_, flag, again, _ = native.rows(connection, projects.get_project(connection, "q"))
        assert (flag["resolved_at"], flag["resolved_by"]) == (2.0, None)
        assert again == {**decision, "superseded_by": None}
        wrong = [*rows[:-1], {**decision, "superseded_by": 7}, {**end, "rows": len(rows)}]
        with sqlite.write() as connection, pytest.raises(UserError, match="superseded by number 7"):
            native.restore(connection, wrong, CLI, slug="r")

    def test_what_is_no_project_is_refused(self, sqlite):
        with sqlite.write() as connection, pytest.raises(UserError, match="no whole project"):
            native.restore(connection, iter([{"a": 1}]), CLI)


class TestImports:
    def test_label_studios_sides_are_names(self, tmp_path):
        task = {
            "id": 1,
            "data": {"prompt": "q", "response_a": "ra", "response_b": "rb"},
            "annotations": [
                {"completed_by": 1, "lead_time": 12.5, "result": [
                    {"from_name": "pw", "to_name": "b,a", "type": "pairwise", "value": {"selected": "left"}}]},
                {"completed_by": 2, "was_cancelled": True, "result": []},
            ],
        }  # fmt: skip
        (tmp_path / "tasks.json").write_text(json.dumps([task]))
        [one] = importing.read_items(str(tmp_path / "tasks.json"), "label-studio")
        assert [given.value for given in one.answers] == [{"preference": {"winner": "r1"}}, None]
        assert one.answers[0].wall_ms == 12500

    def test_argillas_lists_warn_that_ties_are_lost(self, tmp_path):
        record = {"id": "a", "fields": {"instruction": "q", "response-1": "x", "response-2": "y"},
                  "responses": {"rank": [{"value": ["response-2", "response-1"], "user_id": "U 1"}]}}  # fmt: skip
        (tmp_path / "r.json").write_text(json.dumps([record]))
        said: list[str] = []
        [one] = importing.read_items(str(tmp_path / "r.json"), "argilla", warn=said.append)
        assert one.answers[0].value == {"ranking": {"ranks": {"r1": 1, "r0": 2}}}
        assert (one.answers[0].username, len(said)) == ("U 1", 1)

    def test_battles(self, tmp_path):
        user = {"role": "user", "content": "q"}
        rows = [
            {"question_id": n, "model_a": "A", "model_b": "B", "winner": winner,
             "conversation_a": [user, {"role": "assistant", "content": "x"}],
             "conversation_b": [user, {"role": "assistant", "content": "y"}]}
            for n, winner in enumerate(["model_b", "tie", "tie (bothbad)"])
        ]  # fmt: skip
        (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        read = list(importing.read_items(str(tmp_path / "b.jsonl"), "arena"))
        assert [one.answers[0].value["preference"] for one in read] == [
            {"winner": "r1"},
            {"winner": None, "outcome": "tie"},
            {"winner": None, "outcome": "both_bad"},
        ]
        assert [r.source for r in read[0].responses] == ["A", "B"]

    def test_arena_55k(self, tmp_path):
        names = ["id", "model_a", "model_b", "prompt", "response_a", "response_b"]
        names += ["winner_model_a", "winner_model_b", "winner_tie"]
        asked, first, second = ["q", "and?"], ["a", "a2"], ["b", None]
        rows = [
            [7, "x", "y", asked, first, ["b", "b2"], 0, 1, 0],
            [8, "x", "y", ["q"], ["a"], ["b"], 0, 0, 1],
            [9, "x", "y", asked, first, ["b"], 1, 0, 0],
            [10, "x", "y", asked, first, second, 1, 0, 0],
        ]
        with (tmp_path / "train.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([[json.dumps(v) if isinstance(v, list) else v for v in row] for row in rows])
        one, tie, uneven, _ = importing.read_items(str(tmp_path / "train.csv"), "arena")
        assert isinstance(one, NewItem)
        assert isinstance(tie, NewItem)
        assert one.external_id == "7"
        assert one.prompt == [Message("user", "q")]
        assert [r.source for r in one.responses] == ["x", "y"]
        assert [turn.content for turn in one.responses[1].messages] == ["b", "and?", "b2"]
        assert one.answers[0].value == {"preference": {"winner": "r1"}}
        assert tie.answers[0].value == {"preference": {"winner": None, "outcome": "tie"}}
        assert isinstance(uneven, Dropped)
        assert "different numbers of turns" in uneven.reason

    def test_whatever_heed_train_reads(self, sqlite, tmp_path):
        row = {"prompt": "q", "chosen": "yes", "rejected": "no"}
        (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
        make_project(sqlite, 0, new_items=[], state="draft")
        with sqlite.write() as connection:
            added = items.add_items(connection, "p", importing.read_items(str(tmp_path / "d.jsonl")))
            assert added.added == 1
            [one] = gather(connection, projects.get_project(connection, "p"))
        assert sorted(r.content[0]["content"] for r in one.responses) == ["no", "yes"]
        assert not one.answers  # what the data says is a suggestion, and nobody's answer

    def test_frames(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"q": ["one"], "a": ["x"], "b": ["y"]})
        [one] = from_frame(frame, Columns(("a", "b"), "q"))
        assert one.content() == [
            [{"role": "user", "content": "one"}],
            [[{"role": "assistant", "content": t}] for t in "xy"],
        ]
        with pytest.raises(UserError, match="no column 'c'"):
            list(from_frame(frame, Columns(("a", "c"), "q")))

    def test_tables_by_their_columns(self, tmp_path):
        (tmp_path / "t.csv").write_text("key,q,a,b,page\n7,one,x,y,text\n")
        columns = importing.columns_of("prompt=q,responses=a+b,id=key,context=page")
        [one] = importing.read_items(str(tmp_path / "t.csv"), columns=columns)
        assert (one.external_id, [r.messages[0].content for r in one.responses]) == ("7", ["x", "y"])
        assert one.context == {"page": "text"}
        with pytest.raises(UserError, match="columns are written"):
            importing.columns_of("prompt=q")
        with pytest.raises(UserError, match="no column 'z'"):
            list(importing.read_items(str(tmp_path / "t.csv"), columns=importing.columns_of("responses=a+z")))

    @pytest.mark.parametrize("source", ["folder", "org/set", "org/set#test"])
    def test_columns_of_a_folder_and_of_the_hub(self, tmp_path, monkeypatch, source):
        import datasets

        row = {"key": "7", "q": "one", "a": "x", "b": "y"}
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "train.jsonl").write_text(json.dumps(row) + "\n")
        both = datasets.DatasetDict({name: datasets.Dataset.from_list([row]) for name in ("train", "test")})
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: both)
        [one] = importing.read_items(source, columns=importing.columns_of("prompt=q,responses=a+b,id=key"))
        assert (one.external_id, [r.messages[0].content for r in one.responses]) == ("7", ["x", "y"])
        with pytest.raises(UserError, match=r"no column 'z' \(there are: key, q, a, b\)"):
            list(importing.read_items(source, columns=importing.columns_of("responses=a+z")))
        with pytest.raises(UserError, match="leave out format arena"):
            list(importing.read_items(source, "arena", columns=importing.columns_of("responses=a+b")))

    def test_argillas_data_sets_on_the_hub(self, tmp_path):
        old = {"prompt": "q", "response-1": "x", "response-2": "y", "metadata": "{\"k\": 1}", "external_id": "e",
               "choice": [{"user_id": "u", "value": "response-2", "status": "submitted"},
                          {"user_id": "v", "value": None, "status": "discarded"}],
               "choice-suggestion": "response-1",
               "choice-suggestion-metadata": {"type": "model", "score": 0.5, "agent": "gpt"}}  # fmt: skip
        new = {"id": "n", "prompt": "q", "r0": "x", "r1": "y", "status": "completed",
               "preference.responses": ["tie"], "preference.responses.users": ["U"],
               "preference.responses.status": ["submitted"], "preference.suggestion": "r1",
               "preference.suggestion.score": None, "preference.suggestion.agent": None}  # fmt: skip
        read = []
        for number, row in enumerate((old, new)):
            (tmp_path / f"{number}.jsonl").write_text(json.dumps(row) + "\n")
            read += importing.read_items(str(tmp_path / f"{number}.jsonl"), "argilla")
        first, second = read
        assert [(given.username, given.value) for given in first.answers] == [
            ("u", {"preference": {"winner": "r1"}}),
            ("v", None),
        ]
        assert (first.external_id, first.meta, len(first.responses)) == ("e", {"k": 1}, 2)
        assert (first.suggestions, first.scores) == ({"gpt": {"preference": {"winner": "r0"}}}, {"gpt": 0.5})
        assert (second.suggestions, second.scores) == ({"argilla": {"preference": {"winner": "r1"}}}, {})
        assert second.answers[0].value == {"preference": {"winner": None, "outcome": "tie"}}

    def test_labels_as_a_frame(self, sqlite):
        pytest.importorskip("pandas")
        make_project(sqlite, 2, overlap=2)
        answered(sqlite, "ann", [better("r0"), better("r1")])
        answered(sqlite, "bob", [better("r0"), better("r0")])
        with sqlite.read() as connection:
            frame = to_pandas(connection, "p")
        assert frame[["item", "labeller", "label"]].values.tolist() == [
            ["i0", "ann", 0], ["i0", "bob", 0], ["i1", "ann", 1], ["i1", "bob", 0],
        ]  # fmt: skip
        assert frame["decided"].isna().tolist() == [False, False, True, True]


def full_example() -> Example:
    """With every field that an Example has."""
    turns = [Message("assistant", "a"), Message("user", "and?"), Message("assistant", "b")]
    turns[0].trained = False
    first = Response(turns, 1.5, 0.25, True, True, [], 0, 1, 2.0, [Span(0, 1, 0.5)], "m1", {"finished": True})
    second = Response([Message("assistant", "c")], -0.5, 3.0, False, False, ["Drugs"], 2, 2, 1.0, [], "m2", {"k": [1]})
    asked = [Message("system", "s"), Message("user", "q")]
    return Example(asked, [first, second], 0, 0, 3.0, 0.5, "x", "some data", extra={"note": {"deep": 1}})


class TestOurOwnExamples:
    def back(self, db, questions: dict, answer: dict) -> Example:
        """The Example, judged once and taken out again."""
        make_project(db, new_items=[from_example(full_example())], questions=questions)
        answered(db, "ann", [answer])
        [row] = exported(db, "heedful").rows
        return example_of(row)

    def test_what_nobody_is_asked_survives(self, sqlite):
        found = self.back(sqlite, {"rationale": {}}, {"rationale": "why not"})
        assert set(found.extra.pop("labelling")) == {"item", "group", "n", "method", "project", "version", "decided"}
        assert found == full_example()

    def test_what_people_decided_stands(self, sqlite):
        """The data preferred the other one: its strength and ranks are beside, where no trainer reads them."""
        found, data = self.back(sqlite, {"preference": {}}, better("r1")), full_example()
        of_responses = [{"desirable": True, "rank": 1}, {"desirable": False, "rank": 2}]
        beside = {"better": 0, "strength": 3.0, "margin": 0.5, "responses": of_responses}
        assert found.extra.pop("labelling")["data"] == beside
        data.better, data.strength, data.margin = 1, None, None
        for one in data.responses:
            one.rank = one.desirable = None
        assert found == data

    def test_people_who_agree_keep_the_strength(self, sqlite):
        found = self.back(sqlite, {"preference": {}}, better("r0"))
        assert (found.better, found.strength, found.margin) == (0, 3.0, 0.5)

    def test_a_tie_is_not_filled_up(self, sqlite):
        said = {"thumbs": {"r0": False, "r1": True}, **better(None)}
        found = self.back(sqlite, {"preference": {}, "thumbs": {}}, said)
        assert (found.better, found.strength, found.extra["outcome"]) == (None, None, "tie")
        assert [one.desirable for one in found.responses] == [False, True]
        assert [one.safe for one in found.responses] == [True, False]
        assert found.extra["labelling"]["data"]["responses"] == [
            {"desirable": True, "rank": 1}, {"desirable": False, "rank": 2},
        ]  # fmt: skip

    def test_labels_that_fit_an_answer_are_suggestions(self):
        assert from_example(full_example()).suggestions == {
            "data": {
                "preference": {"winner": "r0"},
                "safer": {"winner": "r0"},
                "ranking": {"ranks": {"r0": 1, "r1": 2}},
                "thumbs": {"r0": True, "r1": False},
                "safety": {"r0": SAFE, "r1": UNSAFE},
            }
        }


class TestForTheHub:
    def test_a_folder_that_datasets_loads(self, sqlite, tmp_path):
        from datasets import load_dataset

        make_project(sqlite, 12)
        answered(sqlite, "ann", [better("r0")] * 12)
        with sqlite.read() as connection:
            done = write_hub_folder(connection, "p", tmp_path / "set", Asked("trl", split=0.3))
            with pytest.raises(UserError, match="not empty"):
                write_hub_folder(connection, "p", tmp_path / "set", Asked("trl"))
            with pytest.raises(UserError, match="is trl or kto"):
                write_hub_folder(connection, "p", tmp_path / "other", Asked("argilla"))
        loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
        assert {name: len(rows) for name, rows in loaded.items()} == {
            "train": len(done.rows), "test": len(done.held_out),
        }  # fmt: skip
        assert loaded["train"][0]["chosen"] == done.rows[0]["chosen"]
        card = (tmp_path / "set" / "README.md").read_text()
        assert "# Be fair" in card
        assert "heed label import p data/train.parquet" in card

    def test_its_own_way_back(self, sqlite, tmp_path):
        make_project(sqlite, 3)
        answered(sqlite, "ann", [better("r0")] * 3)
        with sqlite.write() as connection:
            write_hub_folder(connection, "p", tmp_path / "set", Asked("trl"))
            make = questions_of({"preference": {}})
            versions.create_project(connection, "q", make)
            read = importing.read_items(str(tmp_path / "set" / "data" / "train.parquet"))
            assert items.add_items(connection, "q", read).added == 3


def test_who_answers_how(sqlite):
    make_project(sqlite, 40)
    ann = person(sqlite, "ann", member="annotator")
    while (task := work.claim(sqlite, ann, "p")) is not None:  # always the left one
        value = better(task.responses[0].key)
        work.submit(sqlite, ann, task.slot, task.lease_token, task.slot, value, wall_ms=4000, active_ms=3000)
    with sqlite.read() as connection:
        [row] = quality.labellers(connection, projects.get_project(connection, "p"))
    assert row["first_shown"] == {"share": 1.0, "n": 40, "z": pytest.approx(40**0.5, abs=0.01)}
    assert (row["answers"], row["median_s"], row["suspect"]) == (40, 3.0, 0)


def test_decided_without_answers_is_nothing(sqlite):
    make_project(sqlite, 1)
    with sqlite.read() as connection:
        found = projects.get_project(connection, "p")
        listed = gather(connection, found)
        decide(connection, found, listed)
        with pytest.raises(UserError, match="aggregate must be"):
            decide(connection, found, listed, "vote")
    assert (listed[0].value, listed[0].undecided) == ({}, {})
