"""The pages and the JSON interface: who may do what, what leaves the server, what other sites cannot do."""

from __future__ import annotations

import json
import re
import threading

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from heedful.labelling import accounts, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.projects import get_project
from heedful.labelling.questions import Questions
from heedful.labelling.tables import annotation, suggestion
from heedful.labelling.versions import add_version
from heedful.labelling.web.app import create_app
from heedful.labelling.web.remembered import Remembered
from tests.labelling.conftest import answered, better, make_project, pair, person

PASSWORD = "correct horse"


@pytest.fixture
def server(sqlite):
    with TestClient(create_app(sqlite), base_url="http://testserver", follow_redirects=False) as client:
        yield client


def token(db: Database, who: Account, *scopes: str) -> dict[str, str]:
    with db.write() as connection:
        secret = accounts.make_token(connection, who.id, "t", scopes or accounts.SCOPES, None, who.actor)
    return {"authorization": f"Bearer {secret}"}


def log_in(db: Database, server: TestClient, who: Account) -> str:
    """The session's CSRF secret."""
    with db.write() as connection:
        secret = accounts.begin_session(connection, who.id)
        found = accounts.by_session(connection, secret)
    assert found is not None
    server.cookies.set("heed_session", secret)
    return found.csrf


class TestEntering:
    def test_the_first_admin_enters_by_a_link_once(self, sqlite, server):
        secret = accounts.first_admin_link(sqlite)
        page = server.get(f"/enter/{secret}")
        assert "Choose a password" in page.text
        short = server.post(f"/enter/{secret}", data={"password": "short", "again": "short"})
        assert (short.status_code, "at least 10" in short.text) == (422, True)
        done = server.post(f"/enter/{secret}", data={"password": PASSWORD, "again": PASSWORD})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        again = server.post(f"/enter/{secret}", data={"password": PASSWORD, "again": PASSWORD})
        assert again.status_code == 410
        assert accounts.first_admin_link(sqlite) is None

    def test_password_and_how_often_one_may_try(self, sqlite, server):
        with sqlite.write() as connection:
            accounts.add_user(connection, "ann", password=PASSWORD)
        for _ in range(5):
            assert server.post("/login", data={"username": "ann", "password": "wrong wrong"}).status_code == 401
        late = server.post("/login", data={"username": "ann", "password": PASSWORD})
        assert late.status_code == 429
        assert int(late.headers["retry-after"]) > 0

    def test_a_right_password_lets_in(self, sqlite, server):
        with sqlite.write() as connection:
            accounts.add_user(connection, "Ann", password=PASSWORD)
        assert server.post("/login", data={"username": "ANN", "password": PASSWORD}).headers["location"] == "/"
        assert server.get("/").status_code == 200

    def test_who_is_shut_out_is_out_at_once(self, sqlite, server):
        ann = person(sqlite, "ann")
        log_in(sqlite, server, ann)
        assert server.get("/").status_code == 200
        with sqlite.write() as connection:
            accounts.disable_user(connection, "ann", disabled=True)
        assert server.get("/").headers["location"] == "/login"


class TestOtherSites:
    def test_a_form_without_the_secret_or_from_elsewhere_is_refused(self, sqlite, server):
        make_project(sqlite)
        ann = person(sqlite, "ann", member="annotator")
        csrf = log_in(sqlite, server, ann)
        server.get("/p/p")
        task = work.claim(sqlite, ann, "p")
        assert task is not None
        fields = {"slot": task.slot, "lease_token": task.lease_token, "client_key": "k", "preference": "r0"}
        assert server.post("/p/p/submit", data=fields).status_code == 403
        fields["csrf"] = csrf
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert server.post("/p/p/submit", data=fields, headers=headers).status_code == 403
        assert server.post("/p/p/submit", data=fields, headers={"origin": "http://testserver"}).status_code == 303
        assert server.post("/api/v1/projects/p/claim").status_code == 403  # by cookie, without the header
        assert server.post("/api/v1/projects/p/claim", headers={"x-csrf-token": csrf}).status_code == 200

    def test_headers_on_everything(self, sqlite, server):
        nonces = set()
        for path in ("/login", "/static/label.js", "/api/v1/me", "/nowhere"):
            headers = server.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
            nonces.add(re.search("nonce-([^']+)", policy)[1])
        assert len(nonces) == 4

    def test_large_bodies_are_refused(self, sqlite, server):
        assert server.post("/login", content=b"x" * (2 << 20)).status_code == 413


class TestTokens:
    def test_a_token_does_no_more_than_its_scopes(self, sqlite, server):
        make_project(sqlite)
        boss = person(sqlite, "boss", "admin")
        reads = token(sqlite, boss, "read")
        assert server.get("/api/v1/projects/p/stats", headers=reads).status_code == 200
        assert server.post("/api/v1/projects/p/claim", headers=reads).status_code == 403
        assert server.post("/api/v1/projects/p/pause", headers=reads).status_code == 403


class TestTheFormWithoutJavaScript:
    def test_every_question_by_plain_forms(self, sqlite, server):
        asked = {
            "rating": {"dimensions": {"help": {}}},
            "thumbs": {},
            "safety": {"harms": ["Violence", "Drugs"]},
            "ranking": {},
            "preference": {"strength": 3},
            "rationale": {},
            "confidence": {},
        }
        make_project(sqlite, questions=asked)
        ann = person(sqlite, "ann", member="annotator")
        csrf = log_in(sqlite, server, ann)
        page = server.get("/p/p").text
        fields: dict[str, object] = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        assert fields["csrf"] == csrf
        fields |= {"preference": "r1:3", "rank:r0": "2", "rank:r1": "1", "confidence": "4", "rationale": " because "}
        fields |= {f"rating:{key}:help": "4" for key in ("r0", "r1")}
        fields |= {"thumbs:r0": "down", "thumbs:r1": "up", "safe:r0": "unsafe", "safe:r1": "safe"}
        wrong = server.post("/p/p/submit", data={**fields, "safer": "r1", "severity:r0": "2"})
        assert wrong.status_code == 422
        assert "which harm" in wrong.text
        assert 'value="r1:3" checked' in wrong.text  # nothing that was chosen is lost
        fields = {**fields, "harm:r0": ["Drugs"], "severity:r0": "2"}
        assert "not the safer one" in server.post("/p/p/submit", data={**fields, "safer": "r0"}).text
        assert server.post("/p/p/submit", data={**fields, "safer": "r1"}).status_code == 303
        with sqlite.read() as connection:
            [given] = work.mine(connection, ann, "p")
        assert given["value"] == {
            "preference": {"winner": "r1", "strength": 3},
            "ranking": {"ranks": {"r0": 2, "r1": 1}},
            "rating": {"r0": {"help": 4}, "r1": {"help": 4}},
            "thumbs": {"r0": False, "r1": True},
            "safety": {
                "r0": {"is_safe": False, "harms": ["Drugs"], "severity": 2},
                "r1": {"is_safe": True, "harms": [], "severity": 0},
            },
            "safer": {"winner": "r1"},
            "rationale": "because",
            "confidence": 4,
        }
        assert 'value="r1:3" checked' in server.get(f"/p/p/mine/{given['annotation']}").text

    def test_a_lost_lease_is_said_and_the_answer_stands_on_its_own_item_only(self, sqlite, server):
        make_project(sqlite, 2)
        ann = person(sqlite, "ann", member="annotator")
        csrf = log_in(sqlite, server, ann)
        task = work.claim(sqlite, ann, "p")
        assert task is not None
        fields = {"csrf": csrf, "slot": task.slot, "lease_token": "old", "client_key": "k", "preference": "r1"}
        late = server.post("/p/p/submit", data=fields)
        assert late.status_code == 409
        assert "went to somebody else" in late.text
        assert 'value="r1" checked' in late.text
        work.submit(sqlite, ann, task.slot, task.lease_token, "first", better("r0"))
        late = server.post("/p/p/submit", data=fields)  # from another tab, that still shows it
        assert late.status_code == 409
        assert f'value="{task.slot}"' not in late.text
        assert "Question " in late.text
        assert " checked" not in late.text.split('<div class="groups">')[1].split('<div class="actions">')[0]

    def test_an_answer_names_the_version_whose_page_was_read(self, sqlite, server):
        make_project(sqlite, 3, questions={"preference": {"strength": 3}})
        ann = person(sqlite, "ann", member="annotator")
        csrf = log_in(sqlite, server, ann)
        page = server.get("/p/p").text
        fields: dict[str, object] = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        with sqlite.write() as connection:
            found = get_project(connection, "p")
            add_version(connection, "p", Questions.model_validate({"preference": {}}), "Anew.", found.settings)
        fields |= {"csrf": csrf, "preference": "r1:3"}
        assert server.post("/p/p/draft", data=fields).status_code == 204
        assert server.post("/p/p/submit", data=fields).status_code == 303
        headers = token(sqlite, ann)
        body = {"value": {"preference": {"winner": "r0", "strength": 2}}, "client_key": "k2"}
        task = server.post("/api/v1/projects/p/claim", headers=headers).json()
        body["lease_token"] = task["lease_token"]
        path = f"/api/v1/slots/{task['slot']}/submit"
        assert task["version"] == 2
        assert "no strength is asked for" in server.post(path, headers=headers, json=body).text
        for version in (1, 3):  # replaced before this task was given out; not there
            late = server.post(path, headers=headers, json={**body, "version": version})
            assert (late.status_code, f"version: {version} was not shown" in late.text) == (422, True)
        with sqlite.write() as connection:
            add_version(connection, "p", found.questions, "As before.", found.settings)
        body["value"] = better("r0")
        assert server.post(path, headers=headers, json={**body, "version": 2}).status_code == 201
        with sqlite.read() as connection:
            rows = connection.execute(
                select(annotation.c.value, annotation.c.project_version).order_by(annotation.c.id)
            ).all()
            given = work.mine(connection, ann, "p")
        assert [row.value["preference"].get("strength") for row in rows] == [3, None]
        assert [row.project_version for row in rows] == [1, 2]
        changed = {"value": {"preference": {"winner": "r1", "strength": 2}}, "client_key": "k3"}
        path = f"/api/v1/annotations/{given[0]['annotation']}/revise"
        assert server.post(path, headers=headers, json=changed).status_code == 201
        with sqlite.read() as connection:
            assert connection.scalars(select(annotation.c.project_version).order_by(annotation.c.id)).all() == [1, 2, 3]

    @pytest.mark.parametrize("suggested", ["words", "nonsense", "text"])
    def test_a_suggestion_is_shown_where_it_should_be(self, sqlite, server, suggested):
        said: object = {"winner": "r1"} if suggested == "words" else {"winner": "r7"}
        known = pair(0, suggestions={"model": {"preference": said, "scores": {"r0": 0.5}}})
        make_project(sqlite, new_items=[known], show_suggestions=True, shuffle=False)
        if suggested == "text":  # as an older release took it
            with sqlite.write() as connection:
                connection.execute(update(suggestion).values(value="r0"))
        log_in(sqlite, server, person(sqlite, "ann", member="annotator"))
        expected = "model suggests: B is better" if suggested == "words" else "model suggests: no answer"
        assert expected in server.get("/p/p").text

    @pytest.mark.parametrize(
        ("scores", "shown"),
        [
            ({"r0": 1.2345, "r1": -0.4}, "; scores: A 1.23, B -0.40</p>"),
            ({"r1": 12, "r7": 3.0}, "; scores: B 12.00</p>"),
            ({"r0": "high", "r1": None}, "A is better</p>"),
            ({"r0": True}, "A is better</p>"),
            ([1.0, 2.0], "A is better</p>"),
        ],
    )
    def test_each_responses_score_stands_beside_what_a_model_suggests(self, sqlite, server, scores, shown):
        said = {"model": {"preference": {"winner": "r0"}, "scores": scores}}
        make_project(sqlite, new_items=[pair(0, suggestions=said)], show_suggestions=True, shuffle=False)
        log_in(sqlite, server, person(sqlite, "ann", member="annotator"))
        page = server.get("/p/p").text
        assert "model suggests: A is better" in page
        assert shown in page

    def test_letters_and_scores_follow_the_order_on_the_screen(self, sqlite, server):
        said = {"model": {"scores": {"r0": 1.0, "r1": 2.0}}}
        make_project(sqlite, new_items=[pair(n, suggestions=said) for n in range(12)], show_suggestions=True)
        ann = person(sqlite, "ann", member="annotator")
        log_in(sqlite, server, ann)
        seen = set()
        while (task := work.claim(sqlite, ann, "p")) is not None:
            first = task.responses[0].key
            seen.add(first)
            expected = "A 1.00, B 2.00" if first == "r0" else "A 2.00, B 1.00"
            assert f"; scores: {expected}</p>" in server.get("/p/p").text
            work.submit(sqlite, ann, task.slot, task.lease_token, task.slot, better("r0"))
        assert seen == {"r0", "r1"}


class TestImportAndExport:
    def test_items_come_in_with_bad_rows_named(self, sqlite, server):
        make_project(sqlite, 1)
        headers = token(sqlite, person(sqlite, "boss", "admin"))
        rows = [
            {"prompt": "P", "responses": ["a", "b"], "id": "n1"},
            {"prompt": "P", "responses": ["a"]},
            {"prompt": "P", "responses": ["a", "a"]},
            {"promt": "P", "responses": ["a", "b"]},
        ]
        body = "\n".join(map(json.dumps, rows))
        dry = server.post("/api/v1/projects/p/items:import?dry_run=true", headers=headers, content=body).json()
        done = server.post("/api/v1/projects/p/items:import", headers=headers, content=body).json()
        assert dry == done
        assert done["added"] == 1
        assert [one["at"] for one in done["refused"]] == ["line 4", "line 2", "line 3"]
        assert "promt is no part of an item" in done["refused"][0]["reason"]
        bad = server.post("/api/v1/projects/p/items:import", headers=headers, content='{"prompt": 1')
        assert (bad.status_code, "line 1 is no JSON" in bad.text) == (422, True)

    def test_what_comes_out_says_what_stayed_in(self, sqlite, server):
        make_project(sqlite, 3)
        ann = person(sqlite, "ann", member="annotator")
        for winner in ("r0", None):
            task = work.claim(sqlite, ann, "p")
            assert task is not None
            value = {"preference": {"winner": winner} if winner else {"winner": None, "outcome": "tie"}}
            work.submit(sqlite, ann, task.slot, task.lease_token, str(winner), value)
        headers = token(sqlite, person(sqlite, "boss", "admin"))
        got = server.get("/api/v1/projects/p/export?format=trl", headers=headers)
        [row] = [json.loads(line) for line in got.text.splitlines()]
        assert row["chosen"] == [{"role": "assistant", "content": "yes 0"}]
        assert row["meta"]["chosen_source"] == "model-yes"
        assert "margin" not in row
        manifest = server.get(got.headers["x-manifest"], headers=headers).json()
        assert manifest["items"] == {"in": 3, "out": 1}
        assert manifest["left_out"] == {"a tie": 1, "nobody answered it": 1}
        assert "no format is called 'trll'; did you mean trl" in server.get(
            "/api/v1/projects/p/export?format=trll", headers=headers
        ).text  # fmt: skip


def test_the_pages_for_managers(sqlite, server):
    make_project(sqlite, 4, overlap=2)
    for name, winner in (("ann", "r0"), ("bob", "r1")):
        who = person(sqlite, name, member="annotator")
        while (task := work.claim(sqlite, who, "p")) is not None:
            said = "r0" if task.prompt[0]["content"] == "Question 0?" else winner
            work.submit(
                sqlite, who, task.slot, task.lease_token, f"{name}{task.slot}", {"preference": {"winner": said}}
            )
    boss = person(sqlite, "boss", "admin")
    csrf = log_in(sqlite, server, boss)
    dashboard = server.get("/p/p/dashboard").text
    assert "Krippendorff" in dashboard
    assert "<b>3</b> items disputed" in dashboard
    page = server.get("/p/p/adjudicate").text
    action = re.search(r'action="(/p/p/adjudicate/\w+)"', page)[1]
    fields = {"csrf": csrf, "preference": "r0", "category": "ambiguous"}
    assert server.post(action, data=fields).status_code == 303
    assert "2 disputed" in server.get("/p/p/adjudicate").text
    spelled = "questions: {preference: {strength: 3}}\nsettings: {overlap: 2}"
    changed = server.post("/p/p/settings", data={"csrf": csrf, "guidelines": "New", "spelled": spelled})
    assert changed.status_code == 303
    spelled = spelled.replace("overlap", "overlp")
    broken = server.post("/p/p/settings", data={"csrf": csrf, "guidelines": "Newer", "spelled": spelled})
    assert broken.status_code == 422
    assert "Settings: overlp is unknown; did you mean overlap?" in broken.text
    assert ">Newer</textarea>" in broken.text  # nothing that was written is lost
    made = server.post("/users", data={"csrf": csrf, "username": "cid", "role": "annotator"}).text
    assert re.search(r"/enter/[\w-]+", made)
    assert server.get("/users").status_code == server.get("/account").status_code == 200
    secret = server.post("/account/tokens", data={"csrf": csrf, "name": "x", "scope": ["read"]}).text
    assert re.search(r"heed_[\w-]{30,}", secret)


def test_a_manager_sees_what_happened_to_an_item(sqlite, server):
    known = pair(100, gold={"preference": {"winner": "r0"}}, suggestions={"model": {"scores": {"r0": 0.5}}})
    make_project(sqlite, new_items=[*(pair(number) for number in range(60)), known], overlap=2)
    answered(sqlite, "ann", [better("r0"), better("r1")])
    ann = Account(person_id(sqlite, "ann"), "ann", "ann", "annotator")
    with sqlite.read() as connection:
        given = work.mine(connection, ann, "p")[0]
    work.revise(sqlite, ann, given["annotation"], better(None), "second thoughts")
    answered(sqlite, "bob", [None])
    csrf = log_in(sqlite, server, person(sqlite, "boss", "admin"))
    listed = server.get("/p/p/items").text
    assert "61 items" in listed
    assert "page 1 of 2" in listed
    assert "page 2 of 2" in server.get("/p/p/items?page=1").text
    assert "i100" in server.get("/p/p/items?page=1").text
    assert "There are none" in server.get("/p/p/items?text=%25").text
    changed = re.search(r'/p/p/items/(\w+)">i1</a>', server.get("/p/p/items?text=i1").text)
    first = re.search(r'/p/p/items/(\w+)">i0</a>', listed)
    last = re.search(r'/p/p/items/(\w+)">i100</a>', server.get("/p/p/items?text=i100&state=open").text)
    assert changed
    assert first
    assert last
    page = server.get(f"/p/p/items/{changed[1]}").text
    assert "B is better <small>changed later</small>" in page
    assert "tie <small>changed 1 ×</small>" in page
    assert "model-yes" in page
    assert "bob, " in server.get(f"/p/p/items/{first[1]}").text
    page = server.get(f"/p/p/items/{last[1]}").text
    assert "A is better" in page
    assert "scores" in page
    assert server.post(f"/p/p/items/{first[1]}/void", data={"csrf": csrf}).status_code == 303
    assert "i0" in server.get("/p/p/items?state=void").text
    assert "Take out" not in server.get(f"/p/p/items/{first[1]}").text


def person_id(db: Database, name: str) -> int:
    with db.read() as connection:
        return accounts.find_user(connection, name)


class TestRememberedStatistics:
    def counted(self, db, seconds: float):
        """Statistics by a clock on which counting takes that long; a second call after one more answer."""
        make_project(db, 3)
        answered(db, "ann", [better("r0")])
        ticks = iter(range(1000))
        remembered = Remembered(clock=lambda: next(ticks) * seconds)
        with db.read() as connection:
            found = get_project(connection, "p")
        first = remembered.statistics(db, found)
        assert remembered.statistics(db, found) is first
        answered(db, "bob", [better("r1")])
        return first, remembered.statistics(db, found)

    def test_quick_ones_are_always_current(self, sqlite):
        first, second = self.counted(sqlite, 0.1)
        assert [len(one.people) for one in (first, second)] == [1, 2]
        assert second.kept_s == 0

    def test_slow_ones_are_kept_for_a_while(self, sqlite):
        first, second = self.counted(sqlite, 3.0)
        assert second is first
        assert first.kept_s == 60

    def test_a_page_does_not_wait_for_a_long_count(self, sqlite, monkeypatch):
        make_project(sqlite, 3)
        answered(sqlite, "ann", [better("r0")])
        free = threading.Event()
        made = Remembered._made
        monkeypatch.setattr(Remembered, "_made", lambda *given: (free.wait(30), made(*given))[1])
        app = create_app(sqlite)
        app.state.remembered.wait_s = 0.05
        with TestClient(app, base_url="http://testserver", follow_redirects=False) as client:
            log_in(sqlite, client, person(sqlite, "boss", "admin"))
            page = client.get("/p/p/dashboard").text
            assert "are being counted" in page
            assert 'http-equiv="refresh"' in page
            free.set()
            app.state.remembered.wait_s = 30.0
            page = client.get("/p/p/dashboard").text
            assert "Krippendorff" in page
            assert 'http-equiv="refresh"' not in page
            free.clear()
            app.state.remembered.wait_s = 0.05
            answered(sqlite, "bob", [better("r1")])
            older = client.get("/p/p/dashboard").text
            assert "Krippendorff" in older
            assert "<td>ann</td>" in older
            assert "<td>bob</td>" not in older
            free.set()
