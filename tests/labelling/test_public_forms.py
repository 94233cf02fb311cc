"""The forms of public collections and of spreadsheets: what is written is read back, and what cannot be is counted."""

from __future__ import annotations

import csv
import json
from itertools import count

import pytest

from heedful.examples import load, spreadsheets
from heedful.examples.rows import rows_of
from heedful.labelling import importing, items, projects, work
from heedful.labelling.consensus import gather
from heedful.labelling.database import Database
from heedful.labelling.export_files import write
from heedful.labelling.exporting import Asked, export
from heedful.labelling.formats.training import Shape
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.types import Message
from tests.labelling.conftest import answered, better, make_project, pair, person
from tests.labelling.test_formats import EVERYTHING, FULL_ANSWER

BAD = {"preference": {"winner": None, "outcome": "both_bad"}}


def written(db: Database, folder, form: str, **asked):
    """The file of an export, and its manifest."""
    name = folder / f"{form}.{'csv' if form.endswith('csv') else 'jsonl'}"
    with db.read() as connection:
        one, again = (export(connection, "p", Asked(form, **asked)) for _ in range(2))
    assert one.content == again.content
    with db.write() as connection:
        write(one, name, connection)
    return name, json.loads(name.with_name(f"{form}.manifest.json").read_text())


def taken_in(db: Database, name, form: str, questions: dict) -> list[tuple]:
    """A file as the project q; its items with everybody's answers."""
    refused: list[tuple[str, str]] = []
    make_project(db, new_items=[], slug="q", state="draft", questions=questions)
    with db.write() as connection:
        added = items.add_items(connection, "q", importing.kept(importing.read_items(str(name), form), refused))
    assert (refused, added.refused) == ([], [])
    return gathered(db, "q")


def gathered(db: Database, slug: str) -> list[tuple]:
    with db.read() as connection:
        found = gather(connection, projects.get_project(connection, slug), times=True)
    return [
        (
            (one.external_id, one.prompt, [(r.content, r.source) for r in one.responses]),
            [(answer.labeller, answer.value, answer.at, answer.wall_ms) for answer in one.answers],
        )
        for one in found
    ]


def chat(number: int) -> NewItem:
    """A pair that goes on with a conversation."""
    turns = [Message("user", "hello"), Message("assistant", "hi"), Message("user", f"and {number}?")]
    return NewItem(turns, pair(number).responses, f"c{number}")


class TestArena:
    def test_every_vote_comes_back(self, sqlite, tmp_path):
        make_project(sqlite, new_items=[pair(0), chat(1), pair(2)], overlap=2)
        answered(sqlite, "bob", [better("r1"), better(None), BAD])
        answered(sqlite, "ann", [better("r0"), better("r1")])
        name, manifest = written(sqlite, tmp_path, "arena")
        rows = [row for _, row in rows_of(name)]
        assert [(row["winner"], row["judge"]) for row in rows] == [
            ("model_b", "bob"), ("model_a", "ann"), ("tie", "bob"), ("model_b", "ann"), ("tie (bothbad)", "bob"),
        ]  # fmt: skip
        assert [row["turn"] for row in rows] == [1, 1, 2, 2, 1]
        assert manifest["items"] == {"in": 3, "out": 3}
        assert taken_in(sqlite, name, "arena", {"preference": {}}) == gathered(sqlite, "p")

    def test_what_was_decided_in_the_columns_of_55k(self, sqlite, tmp_path):
        system = NewItem([Message("system", "Be brief."), Message("user", "q")], pair(9).responses, "s")
        make_project(sqlite, new_items=[chat(0), pair(1), pair(2), system])
        answered(sqlite, "ann", [better("r1"), better(None), BAD, better("r0")])
        name, manifest = written(sqlite, tmp_path, "arena-55k")
        first = next(iter(rows_of(name)))[1]
        assert json.loads(first["prompt"]) == ["hello", "and 0?"]
        assert json.loads(first["response_b"]) == ["hi", "no 0"]
        assert manifest["left_out"] == {
            "both responses are bad": 1, "its turns are not question and answer in turn": 1,
        }  # fmt: skip
        back = taken_in(sqlite, name, "arena", {"preference": {}})
        assert [texts for texts, _ in back] == [texts for texts, _ in gathered(sqlite, "p")[:2]]
        assert [said[0][1] for _, said in back] == [better("r1"), better(None)]


class TestDialogues:
    def test_our_reader_of_hh_gives_the_pairs_back(self, sqlite, tmp_path):
        marked = NewItem([Message("user", "Say it.\n\nHuman: no")], pair(2).responses, "m")
        make_project(sqlite, new_items=[chat(0), pair(1), marked])
        answered(sqlite, "ann", [better("r1"), better("r0"), better("r0")])
        name, manifest = written(sqlite, tmp_path, "hh")
        assert next(iter(rows_of(name)))[1]["chosen"] == (
            "\n\nHuman: hello\n\nAssistant: hi\n\nHuman: and 0?\n\nAssistant: no 0"
        )
        one, other = load(str(name))
        assert [turn.content for turn in one.prompt] == ["hello", "hi", "and 0?"]
        assert [[r.text for r in example.responses] for example in (one, other)] == [
            ["no 0", "yes 0"],
            ["yes 1", "no 1"],
        ]
        assert (one.better, one.extra["meta"]["item"]) == (0, "c0")
        assert manifest["direction"] == "chosen is the better response"
        assert sum(manifest["left_out"].values()) == 1

    def test_a_ranking_gives_its_pairs(self, sqlite, tmp_path):
        make_project(sqlite, new_items=[_three()], questions={"ranking": {}})
        answered(sqlite, "ann", [{"ranking": {"ranks": {"r0": 2, "r1": 1, "r2": 2}}}])
        name, _ = written(sqlite, tmp_path, "hh")
        assert [[r.text for r in one.responses] for one in load(str(name))] == [["b", "a"], ["b", "c"]]


def _three() -> NewItem:
    responses = [NewResponse([Message("assistant", text)], f"from {text}") for text in "abc"]
    return NewItem([Message("user", "Which?")], responses, "t")


class TestTrees:
    def test_our_reader_of_oasst_gives_the_order_back(self, sqlite, tmp_path):
        make_project(sqlite, new_items=[_three()], questions={"ranking": {}})
        answered(sqlite, "ann", [{"ranking": {"ranks": {"r0": 3, "r1": 1, "r2": 2}}}])
        name, manifest = written(sqlite, tmp_path, "oasst")
        rows = [row for _, row in rows_of(name)]
        assert [(row["role"], row["rank"], row["parent_id"]) for row in rows] == [
            ("prompter", None, None), ("assistant", 2, "t/0"), ("assistant", 0, "t/0"), ("assistant", 1, "t/0"),
        ]  # fmt: skip
        assert manifest["rows"]["train"] == 4
        read = [[r.text for r in example.responses] for example in load(str(name))]
        assert sorted(read) == [["b", "c"], ["c", "a"]]

    def test_ties_are_never_pairs(self, sqlite, tmp_path):
        make_project(sqlite, new_items=[chat(0), pair(1), pair(2)])
        answered(sqlite, "ann", [better("r1"), better(None), BAD])
        name, manifest = written(sqlite, tmp_path, "oasst")
        [example] = load(str(name))
        assert [len(example.prompt), *(r.text for r in example.responses)] == [3, "no 0", "yes 0"]
        assert manifest["left_out"] == {"a tie": 1, "both responses are bad": 1}


FORMULAS = ['=HYPERLINK("http://evil.example")', "+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "'=1", "''=1", "＝1"]
PLAIN = ["", "a=b", "'quoted'", 'it\'s, so\n"fine"', "[{", "1"]


class TestSpreadsheets:
    def test_no_text_is_a_formula_and_every_text_comes_back(self, tmp_path):
        rows = [{"text": text, "number": number} for number, text in zip(count(-3), [*FORMULAS, *PLAIN])]
        (tmp_path / "t.csv").write_bytes(b"".join(spreadsheets.lines(rows)))
        with (tmp_path / "t.csv").open(newline="") as file:
            cells = [row["text"] for row in csv.DictReader(file)]
        assert not [cell for cell in cells if cell.strip(" ")[:1] in set("=+-@\t＝＋－＠") - {""}]
        assert cells[len(FORMULAS) :] == PLAIN
        assert [row for _, row in rows_of(tmp_path / "t.csv")] == [
            {"text": row["text"], "number": str(row["number"])} for row in rows
        ]

    def test_pairs_are_trained_on_as_they_were(self, sqlite, tmp_path):
        responses = [NewResponse([Message("assistant", text)]) for text in ("- one\n- two", "=none")]
        make_project(sqlite, new_items=[NewItem([Message("user", "List, please")], responses, "l")])
        answered(sqlite, "ann", [better("r1")])
        name, manifest = written(sqlite, tmp_path, "pairs-csv")
        [example] = load(str(name))
        assert [r.text for r in example.responses] == ["=none", "- one\n- two"]
        assert (example.extra["item"], example.extra["n"]) == ("l", "1")
        columns = importing.columns_of("prompt=prompt,responses=chosen+rejected,id=item")
        [back] = importing.read_items(str(name), columns=columns)
        assert [r.messages[0].content for r in back.responses] == ["=none", "- one\n- two"]
        assert manifest["rows"] == {"train": 1, "held_out": 0}

    def test_every_answer_comes_back(self, sqlite, tmp_path):
        """Of as many responses as there are, in conversations too, from the second file as from the first."""
        texts = [NewResponse([Message("assistant", text)]) for text in ("[{no list", "'=no formula")]
        lone = NewItem([], texts, "+alone")
        asked = {"ranking": {}, "rating": {"dimensions": {"help": {"low": -2, "high": 2}}}, "rationale": {}}
        make_project(sqlite, new_items=[chat(0), _three(), lone], questions=asked, overlap=2)
        for who in ("bob", "ann"):
            answered(sqlite, who, [_ranked(2, who), _ranked(3, "=it is"), _ranked(2, "- so")])
        name, manifest = written(sqlite, tmp_path, "answers-csv")
        assert (manifest["items"], manifest["rows"]["train"]) == ({"in": 3, "out": 3}, 6)
        assert taken_in(sqlite, name, "answers-csv", asked) == gathered(sqlite, "p")

    def test_every_question_comes_back(self, sqlite, tmp_path):
        make_project(sqlite, 1, questions=EVERYTHING)
        ann = person(sqlite, "ann", member="annotator")
        task = work.claim(sqlite, ann, "p")
        work.submit(sqlite, ann, task.slot, task.lease_token, "key", FULL_ANSWER, wall_ms=2345)
        name, _ = written(sqlite, tmp_path, "answers-csv")
        back = taken_in(sqlite, name, "answers-csv", EVERYTHING)
        assert back == gathered(sqlite, "p")
        assert back[0][1][0][1] == FULL_ANSWER

    def test_the_part_held_out_has_a_header_too(self, sqlite, tmp_path):
        make_project(sqlite, 12)
        answered(sqlite, "ann", [better("r0")] * 12)
        name, manifest = written(sqlite, tmp_path, "pairs-csv", split=0.3, shape=Shape(margin=True))
        held_out = list(rows_of(name.with_name("pairs-csv.held-out.csv")))
        assert len(held_out) == manifest["rows"]["held_out"] == 12 - manifest["rows"]["train"] > 0
        assert "margin" in held_out[0][1]


def _ranked(num: int, why: str) -> dict:
    keys = [f"r{place}" for place in range(num)]
    grades = {key: {"help": place - 2} for place, key in enumerate(keys)}
    return {"ranking": {"ranks": dict.fromkeys(keys, 1)}, "rating": grades, "rationale": why}


@pytest.mark.parametrize("form", ["arena", "arena-55k", "hh", "oasst", "pairs-csv", "answers-csv"])
def test_where_nobody_answered_nothing_goes_out(sqlite, form):
    make_project(sqlite, 2)
    with sqlite.read() as connection:
        done = export(connection, "p", Asked(form))
    assert (done.content, done.manifest["left_out"]) == (b"", {"nobody answered it": 2})
