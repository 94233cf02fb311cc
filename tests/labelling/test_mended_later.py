"""More of what was once wrong: counts that told gold, items left open, projects restored by half."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from heedful.cli.root import main
from heedful.labelling import accounts, items, projects, versions, work
from heedful.labelling.agreement_tables import agreement_in, agreement_table
from heedful.labelling.consensus import gather
from heedful.labelling.database import Database
from heedful.labelling.events import CLI
from heedful.labelling.exporting import Asked, export
from heedful.labelling.formats import native
from heedful.labelling.formats.examples import from_example
from heedful.labelling.new_items import Given, NewItem, NewResponse
from heedful.labelling.projects import get_project
from heedful.labelling.tables import gold, item, slot, suggestion, user
from heedful.labelling.web.app import create_app
from heedful.types import Example, Message, Response, UserError
from tests.labelling.conftest import answered, better, make_project, pair, person
from tests.labelling.test_app import token


def three(number: int, **more) -> NewItem:
    return NewItem(
        [Message("user", f"Question {number}?")],
        [NewResponse([Message("assistant", f"{name} {number}")]) for name in ("a", "b", "c")],
        f"i{number}",
        **more,
    )


def ranked(*ranks: int) -> dict:
    return {"ranking": {"ranks": {f"r{index}": rank for index, rank in enumerate(ranks)}}}


def states(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.execute(select(item.c.state).order_by(item.c.position)).scalars())


def set_overlap(db: Database, number: int) -> None:
    with db.write() as connection:
        found = get_project(connection, "p")
        settings = found.settings.model_copy(update={"overlap": number})
        versions.add_version(connection, "p", found.questions, found.guidelines, settings)


def exported(db: Database, form: str, **asked):
    with db.read() as connection:
        return export(connection, "p", Asked(form, **asked))


def test_alpha_of_rankings_speaks_of_pairs_of_responses(sqlite):
    """Three pairs said alike, three to the contrary: Do = 6/12, De = 2 * 9 * 3 / (12 * 11), by hand."""
    make_project(sqlite, questions={"ranking": {}}, new_items=[three(0), three(1)], overlap=2)
    answered(sqlite, "ann", [ranked(1, 2, 3), ranked(1, 2, 3)])
    answered(sqlite, "bob", [ranked(1, 2, 3), ranked(3, 2, 1)])
    with sqlite.read() as connection:
        found = get_project(connection, "p")
        tables = agreement_in(connection, found), agreement_table(gather(connection, found))
    for table in tables:
        row = table["ranking"]
        assert row["level"] == "nominal"
        assert row["krippendorff_alpha"]["value"] == pytest.approx(1 - (6 / 12) / (2 * 9 * 3 / (12 * 11)), abs=1e-4)
        assert (row["raw"]["value"], row["labels"]) == (0.5, 12)
        assert row["kendall_tau_b"]["value"] == 0.0


def test_items_are_complete_or_open_as_the_overlap_changes(db):
    make_project(db, 3, overlap=3)
    answered(db, "ann", [better("r0"), better("r0")])
    answered(db, "bob", [better("r0"), better("r1")])
    assert states(db) == ["open", "open", "open"]
    set_overlap(db, 2)
    assert states(db) == ["complete", "disputed", "open"]
    set_overlap(db, 3)
    assert states(db) == ["open", "open", "open"]


def test_nobody_learns_from_a_count_which_items_were_gold(db):
    known = [pair(100 + number, gold={"preference": {"winner": "r0"}}) for number in range(10)]
    make_project(db, new_items=[*(pair(number) for number in range(30)), *known], gold_rate=0.4)
    ann = person(db, "ann", member="annotator")
    with db.write() as connection:
        projects.set_member(connection, "p", "ann", quota=12)
    counted = []
    while (task := work.claim(db, ann, "p")) is not None:
        work.submit(db, ann, task.slot, task.lease_token, f"key {len(counted)}", better("r0"))
        with db.read() as connection:
            counted.append(work.progress(connection, ann, "p").mine)
            [listed] = projects.projects_for(connection, ann)
            assert listed["answers"] == counted[-1]
    assert counted == list(range(1, 13))


CONTRARY = "another item with the same texts came to the contrary"


@pytest.mark.parametrize(
    ("said", "items_left_out", "rows_left_out", "num_rows"),
    [((1, 2), {"the same row again": 1}, None, 3), ((2, 1), {CONTRARY: 1}, {CONTRARY: 1}, 2)],
)
def test_pairs_of_a_ranking_that_another_item_has_too(sqlite, said, items_left_out, rows_left_out, num_rows):
    """An item is left out when nothing of it remains; what a ranking of which some remains lost counts in rows."""
    twin = three(0)
    twin.external_id, twin.responses = "twin", twin.responses[:2]
    make_project(sqlite, questions={"ranking": {}}, new_items=[three(0), twin])
    answered(sqlite, "ann", [ranked(1, 2, 3), ranked(*said)])
    manifest = exported(sqlite, "trl").manifest
    assert manifest["items"] == {"in": 2, "out": 1}
    assert (manifest["left_out"], manifest.get("rows_left_out")) == (items_left_out, rows_left_out)
    assert manifest["rows"] == {"train": num_rows, "held_out": 0}


def test_severity_that_nobody_asked_is_unknown_and_all_rows_have_the_same_harms(sqlite):
    harms = ["Spam", "Violence"]
    questions = {"preference": {}, "safety": {"harms": harms, "severity": False, "safer": True}}
    make_project(sqlite, 2, questions=questions)
    safe = {"is_safe": True, "harms": []}
    judged = [{"r0": safe, "r1": {"is_safe": False, "harms": ["Spam"]}}, {"r0": safe, "r1": safe}]
    answered(sqlite, "ann", [better("r0") | {"safety": one, "safer": {"winner": "r0"}} for one in judged])
    first, second = exported(sqlite, "safe-rlhf").rows
    assert (first["response_0_severity_level"], first["response_1_severity_level"]) == (0, None)
    lists = [list(row[f"response_{side}_harm_category"]) for row in (first, second) for side in (0, 1)]
    assert all(names == lists[0] for names in lists)
    assert len(lists[0]) == 20
    assert "Spam" in lists[0]
    assert first["response_1_harm_category"]["Spam"]


class TestWholeProjects:
    def lines(self, db: Database) -> list[dict]:
        with db.read() as connection:
            return [json.loads(json.dumps(row)) for row in native.rows(connection, get_project(connection, "p"))]

    def restored(self, path, lines: list[dict]) -> Database:
        there = Database(str(path))
        with there.write() as connection:
            native.restore(connection, lines, CLI)
        return there

    def test_work_goes_on_in_the_same_order_with_the_same_progress(self, db, tmp_path):
        given = [pair(number, priority=float(number)) for number in range(4)]
        make_project(db, new_items=given, assign="priority", overlap=2)
        answered(db, "ann", [better("r0")])
        there = self.restored(tmp_path / "other.db", self.lines(db))
        places = select(slot.c.place).order_by(slot.c.item_id, slot.c.slot_no)
        with db.read() as old, there.read() as new:
            assert list(old.execute(places).scalars()) == list(new.execute(places).scalars())
        bob = person(there, "bob", member="annotator")
        task = work.claim(there, bob, "p")
        assert task is not None
        assert task.prompt[0]["content"] == "Question 3?"
        there.close()

    def test_names_from_elsewhere_can_be_restored(self, sqlite, tmp_path):
        make_project(sqlite, new_items=[pair(0, answers=[Given("Judge Ünïcode (1)", better("r0"))])])
        there = self.restored(tmp_path / "other.db", self.lines(sqlite))
        with there.read() as connection:
            [one] = gather(connection, get_project(connection, "p"))
        assert one.answers[0].labeller == "judge--n-code--1-"
        there.close()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda lines: lines[:-1], "cut off"),
            (lambda lines: lines[:4] + lines[5:], r"says that it has \d+ rows, and has \d+: some are lost"),
            (lambda lines: [lines[0], lines[3], *lines[1:3], *lines[4:]], "line 2: no version"),
            (lambda lines: [*lines[:-1], {"kind": "nothing"}], "nothing like this"),
            (lambda lines: [*lines[:-1], {**lines[-2], "value": better("r7")}], "no response is called 'r7'"),
            (lambda lines: [*lines[:-1], {**lines[-2], "item": "unknown"}], "is no answer of a project"),
            (lambda lines: [*lines[:2], {**lines[2], "role": "king"}, *lines[3:]], "line 3 is no user of a project"),
            (lambda lines: [*lines[:3], lines[3], *lines[3:]], "there twice"),
            (lambda lines: [lines[0], {**lines[1], "version": "x"}, *lines[2:]], "line 2 is no version of a project"),
            (lambda lines: [{**lines[0], "state": "odd"}, *lines[1:]], "line 1 is no project"),
        ],
    )  # fmt: skip
    def test_what_is_no_project_is_refused_in_a_sentence_and_nothing_is_left(self, sqlite, tmp_path, change, said):
        make_project(sqlite, 2)
        answered(sqlite, "ann", [better("r0")])
        lines = self.lines(sqlite)
        assert [line["kind"] for line in lines] == ["project", "version", "user", "item", "item", "answer", "end"]
        there = Database(str(tmp_path / "other.db"))
        with pytest.raises(UserError, match=said), there.write() as connection:
            native.restore(connection, change(lines), CLI)
        with there.read() as connection:
            assert not connection.execute(select(item.c.id)).first()
        there.close()

    def test_the_command_says_it_too(self, sqlite, tmp_path, monkeypatch, capsys):
        make_project(sqlite, 2)
        text = "".join(json.dumps(line) + "\n" for line in self.lines(sqlite)[:-1])
        (tmp_path / "cut.jsonl").write_text(text)
        assert main(["label", "import", "p", str(tmp_path / "cut.jsonl"), "--format", "native", "--db",
                     str(tmp_path / "new.db")]) == 2  # fmt: skip
        assert "it was cut off" in capsys.readouterr().err


def test_updates_of_items_change_what_they_name(sqlite):
    known = pair(0, gold={"preference": {"winner": "r0"}}, context={"page": "one"})
    make_project(sqlite, new_items=[known, pair(1, meta={"k": 1}, suggestions={"a": {"x": 1}, "b": {"x": 1}})])
    changed = [
        pair(0, gold={"preference": {"winner": "r1"}}),
        pair(1, priority=3.0, suggestions={"a": {"x": 2}}),
    ]
    with sqlite.write() as connection:
        added = items.add_items(connection, "p", changed, on_conflict="update")
        assert (added.updated, added.refused) == (2, [])
        added = items.add_items(connection, "p", [pair(1, gold=known.gold)], on_conflict="update")
        assert added.refused == [("i1", "i1 is there as work; give gold another name")]
    with sqlite.read() as connection:
        asked = select(item.c.kind, item.c.priority, item.c.context, item.c.meta).order_by(item.c.id)
        first, second = map(tuple, connection.execute(asked))
        expected = connection.execute(select(gold.c.expected)).scalars().all()
        said = dict(connection.execute(select(suggestion.c.agent, suggestion.c.value)).all())
    assert first == ("gold", 0.0, {"page": "one"}, None)
    assert second == ("normal", 3.0, None, {"k": 1})
    assert expected == [{"preference": {"winner": "r1"}}]
    assert said == {"a": {"x": 2}, "b": {"x": 1}}


class TestBadInputIsASentence:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("questions: [preference]", "questions are a mapping"),
            ("questions: {preference: {}}\nsettings: {lease_s: .inf}", "lease_s: must be at most"),
            ("questions: {preference: {}}\nsettings: 3", "settings are a mapping"),
            ("questions: {preference: {strength: .nan}}", "preference.strength: must be a finite number"),
            ("questions: {prefrence: {}}", "prefrence is unknown; did you mean preference? (there are: preference, "),
            ("questions: &q {preference: *q}", "an anchor holds itself"),
        ],
    )
    def test_a_projects_file(self, tmp_path, monkeypatch, capsys, text, said):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "c.yaml").write_text(text)
        assert main(["label", "create", "p", "--config", "c.yaml"]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "labels.db").exists()

    @pytest.mark.parametrize("number", ["-3", "0", "99999999999999999999999"])
    def test_a_quota(self, sqlite, tmp_path, capsys, number):
        make_project(sqlite)
        command = ["label", "users", "add", "ann", "--project", "p", "--quota", number]
        assert main([*command, "--db", str(tmp_path / "labels.db")]) == 2
        assert "quota must be 1 to 1,000,000,000 answers" in capsys.readouterr().err
        with sqlite.read() as connection:
            assert not connection.execute(select(user.c.id)).all()

    def test_a_backup_that_cannot_be_written_leaves_nothing(self, sqlite, tmp_path, capsys):
        make_project(sqlite)
        here = ["--db", str(tmp_path / "labels.db")]
        assert main(["label", "backup", str(tmp_path / "no" / "x.db"), *here]) == 2
        assert "there is no folder" in capsys.readouterr().err
        assert main(["label", "backup", str(tmp_path / "copy.db"), *here]) == 0
        assert main(["label", "stats", "p", "--db", str(tmp_path / "copy.db")]) == 0
        assert {path.name for path in tmp_path.iterdir()} >= {"labels.db", "copy.db"}
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]

    @pytest.mark.parametrize("name", ["postgresql://h:notaport/x", "x" * 5000, "postgresql://127.0.0.1:99999999/x"])
    def test_a_databases_name(self, capsys, name):
        assert main(["label", "stats", "p", "--db", name]) == 2
        assert capsys.readouterr().err.count("\n") == 1

    def test_an_audit_trail_that_is_no_json_any_more(self, sqlite, tmp_path, capsys):
        make_project(sqlite)
        with sqlite.write() as connection:
            connection.exec_driver_sql("UPDATE event SET data = '{bad' WHERE id = 2")
        assert main(["label", "verify-audit", "--db", str(tmp_path / "labels.db")]) == 1
        assert "event 2 was changed after it was written" in capsys.readouterr().err

    def test_characters_that_no_database_holds(self, sqlite):
        make_project(sqlite)
        boss = person(sqlite, "boss", "admin")
        with TestClient(create_app(sqlite), base_url="http://testserver") as client:
            secret = token(sqlite, boss) | {"content-type": "application/json"}
            task = client.post("/api/v1/projects/p/claim", headers=secret).json()
            for where, body in {
                f"/slots/{task['slot']}/flag": {
                    "lease_token": task["lease_token"],
                    "kind": "other",
                    "comment": "\ud800",
                },
                "/tokens": {"name": "\ud800", "scopes": ["read"]},
                "/projects/p/versions": {"guidelines": "\ud800", "questions": {"preference": {}}, "settings": {}},
            }.items():
                answer = client.post(f"/api/v1{where}", headers=secret, content=json.dumps(body))
                assert answer.status_code == 422, where
                assert "cannot be stored" in answer.text


def test_a_link_says_who_one_will_be_and_a_used_one_shows_no_form(sqlite):
    with sqlite.write() as connection:
        secret = accounts.make_link(connection, accounts.add_user(connection, "ann", role="manager"))
    with TestClient(create_app(sqlite), base_url="http://testserver", follow_redirects=False) as client:
        page = client.get(f"/enter/{secret}")
        assert page.status_code == 200
        assert "Welcome, ann" in page.text
        assert "a manager: you make projects" in page.text
        given = {"password": "long enough", "again": "long enough"}
        assert client.post(f"/enter/{secret}", data={**given, "again": "other"}).status_code == 422
        assert client.post(f"/enter/{secret}", data=given).status_code == 303
        client.cookies.clear()
        used = client.get(f"/enter/{secret}")
        assert used.status_code == 410
        assert "<form" not in used.text
        assert client.post(f"/enter/{secret}", data=given).status_code == 410


class TestExportsOnTheCommandLine:
    def test_other_peoples_files_are_not_written_over(self, sqlite, tmp_path, capsys):
        make_project(sqlite)
        answered(sqlite, "ann", [better("r0")])
        notes = tmp_path / "notes.md"
        notes.write_text("mine")
        command = ["label", "export", "p", str(notes), "--db", str(tmp_path / "labels.db")]
        assert main(command) == 2
        assert "is no earlier export" in capsys.readouterr().err
        assert notes.read_text() == "mine"
        assert main([*command, "--overwrite"]) == 0
        assert main(command) == 0  # an earlier export is

    def test_what_stays_out_comes_with_what_helps(self, sqlite, tmp_path, capsys):
        make_project(sqlite, 2, overlap=2)
        answered(sqlite, "ann", [better("r0"), better("r0")])
        answered(sqlite, "bob", [better("r0"), better("r1")])
        here = ["--db", str(tmp_path / "labels.db")]
        assert main(["label", "export", "p", str(tmp_path / "o.jsonl"), *here]) == 0
        assert "left out 1: the votes are tied (decide them on the page Adjudicate" in capsys.readouterr().out
        assert main(["label", "export", "p", str(tmp_path / "k.jsonl"), "--format", "kto", *here]) == 2
        assert "p asks for no thumbs, which label kto's rows" in capsys.readouterr().err
        assert main(["label", "export", "p", str(tmp_path), *here]) == 2
        assert "name a file, or add --hub" in capsys.readouterr().err

    def test_a_command_that_fails_leaves_no_database(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["label", "create", "Not A Name", "preference"]) == 2
        assert main(["label", "users", "add", "ann", "--project", "p"]) == 2
        assert not list(tmp_path.iterdir())


def test_a_suggestion_that_is_no_mapping_is_refused(sqlite):
    make_project(sqlite, 1)
    with sqlite.write() as connection:
        added = items.add_items(connection, "p", [pair(9, suggestions={"gpt": "r0"})])
    assert [reason for _, reason in added.refused] == ["suggestions must be {AGENT: {QUESTION: ANSWER}}"]


def test_an_update_leaves_no_label_of_earlier_data(sqlite):
    def judged(name: str, *, desirable: bool) -> NewItem:
        answers = [Response([Message("assistant", word)], desirable=desirable, reward=0.5) for word in ("one", "two")]
        return from_example(Example([Message("user", "Why?")], answers, better=0, margin=1.0, id=name))

    make_project(sqlite, new_items=[judged(name, desirable=True) for name in "ef"], questions={"rationale": {}})
    fresh = [NewResponse([Message("assistant", word)]) for word in ("new", "newer")]
    with sqlite.write() as connection:
        later = [judged("e", desirable=False), NewItem([Message("user", "Why?")], fresh, "f")]
        items.add_items(connection, "p", later, on_conflict="update")
    answered(sqlite, "ann", [{"rationale": "so"}, {"rationale": "so"}])
    with sqlite.read() as connection:
        same, other = export(connection, "p", Asked("heedful")).rows
    assert [one["desirable"] for one in same["responses"]] == [False, False]
    assert not {"better", "margin"} & other.keys()
    assert not any({"desirable", "reward"} & one.keys() for one in other["responses"])
