"""How often one may try and ask, how long a token is good, and what becomes of the session's cookie."""

from __future__ import annotations

from http.cookies import Morsel, SimpleCookie

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from heedful.labelling import accounts
from heedful.labelling.database import now
from heedful.labelling.limits import Bucket, Limiter
from heedful.labelling.tables import api_token
from heedful.labelling.web.app import create_app
from heedful.labelling.web.serve import configuration
from tests.labelling.conftest import make_project, person
from tests.labelling.test_app import PASSWORD, log_in, token

ME = "/api/v1/me"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(sqlite, clock):
    """The application, its limits by that clock."""
    made = create_app(sqlite)
    made.state.limiter, made.state.bucket = Limiter(clock=clock), Bucket(per_s=2, burst=3, clock=clock)
    with sqlite.write() as connection:
        for name in ("ann", "bob"):
            accounts.add_user(connection, name, password=PASSWORD)
    return made


def at(app, address: str, url: str = "http://testserver") -> TestClient:
    """A browser at an address."""
    return TestClient(app, base_url=url, client=(address, 1234), follow_redirects=False)


def try_in(client: TestClient, name: str, password: str = "wrong wrong"):
    return client.post("/login", data={"username": name, "password": password})


class TestLogin:
    def test_five_tries_from_one_address_whoever_they_are_for(self, app, clock):
        there = at(app, "10.0.0.1")
        for number in range(5):
            assert try_in(there, f"name{number}").status_code == 401
        late = try_in(there, "ann", PASSWORD)
        assert (late.status_code, late.headers["retry-after"]) == (429, "60")
        assert try_in(at(app, "10.0.0.2"), "ann", PASSWORD).status_code == 303
        clock.moment += 59
        assert try_in(there, "ann", PASSWORD).headers["retry-after"] == "1"
        clock.moment += 1
        assert try_in(there, "ann", PASSWORD).status_code == 303

    def test_five_tries_of_one_account_wherever_they_are_from(self, app, clock):
        for number in range(5):
            assert try_in(at(app, f"10.0.0.{number}"), "ANN ").status_code == 401
        other = at(app, "10.0.0.9")
        assert try_in(other, "ann", PASSWORD).status_code == 429
        assert try_in(other, "bob", PASSWORD).status_code == 303
        clock.moment += 60
        assert try_in(other, "ann", PASSWORD).status_code == 303

    def test_who_goes_on_waits_twice_as_long(self, app, clock):
        there, waits = at(app, "10.0.0.1"), []
        for _ in range(4):
            try_in(there, "ann")
        for _ in range(6):
            assert try_in(there, "ann").status_code == 401
            late = try_in(there, "ann")
            assert late.status_code == 429
            waits.append(int(late.headers["retry-after"]))
            clock.moment += waits[-1]
        assert waits == [60, 120, 240, 480, 960, 1920]

    def test_a_right_password_forgets_the_accounts_failures_and_not_the_addresss(self, app):
        there = at(app, "10.0.0.1")
        for name, password, status in [
            *[("ann", "wrong wrong", 401)] * 3,
            ("ann", PASSWORD, 303),
            *[("ann", "wrong wrong", 401)] * 2,
            ("bob", PASSWORD, 429),
        ]:
            assert try_in(there, name, password).status_code == status
        elsewhere = at(app, "10.0.0.2")
        assert [try_in(elsewhere, "ann").status_code for _ in range(4)] == [401, 401, 401, 429]

    def test_a_password_is_not_guessed_by_changing_it(self, sqlite, app, clock):
        there = at(app, "10.0.0.1")
        with sqlite.read() as connection:
            ann = accounts.Account(accounts.find_user(connection, "ann"), "ann", "ann", "annotator")
        fields = {"csrf": log_in(sqlite, there, ann), "old": "wrong wrong", "password": "another horse"}
        said = [there.post("/account/password", data=fields) for _ in range(6)]
        assert [one.status_code for one in said] == [422] * 5 + [429]
        assert said[-1].headers["retry-after"] == "60"
        assert "Too many attempts" in said[-1].text
        clock.moment += 60
        assert there.post("/account/password", data={**fields, "old": PASSWORD}).status_code == 303

    def test_an_office_in_which_somebody_mistypes_now_and_then_is_not_shut_out(self, clock):
        """One failure every ten minutes, for days: six count, and after each of them two minutes are enough."""
        limiter = Limiter(clock=clock)
        for _ in range(1000):
            assert limiter.begin("address") == 0.0
            clock.moment += 600
        assert limiter.begin("address") == 0.0
        assert limiter.begin("address") == 120.0


class TestTokens:
    def test_a_token_that_asks_too_often_waits_and_no_other_does(self, sqlite, app, clock):
        """Two a second, three at once: after three the next half a second later, which is said in whole seconds."""
        server = at(app, "10.0.0.1")
        ann = person(sqlite, "cid")
        one, other = token(sqlite, ann), token(sqlite, ann)
        assert [server.get(ME, headers=one).status_code for _ in range(4)] == [200, 200, 200, 429]
        late = server.get(ME, headers=one)
        assert (late.status_code, late.headers["retry-after"]) == (429, "1")
        assert "more than 2 times a second" in late.json()["detail"]
        assert server.get(ME, headers=other).status_code == 200
        clock.moment += 0.5
        assert [server.get(ME, headers=one).status_code for _ in range(2)] == [200, 429]
        clock.moment += 100.0  # full again, and no fuller
        assert [server.get(ME, headers=one).status_code for _ in range(4)] == [200, 200, 200, 429]

    def test_what_is_refused_does_nothing(self, sqlite, app):
        make_project(sqlite)
        server, held = at(app, "10.0.0.1"), token(sqlite, person(sqlite, "boss", "admin"))
        said = [server.post(f"/api/v1/projects/p/{act}", headers=held) for act in ("pause", "open", "pause", "open")]
        assert [one.status_code for one in said] == [204, 204, 204, 429]
        with sqlite.read() as connection:
            assert connection.exec_driver_sql("SELECT state FROM project").scalar() == "paused"

    @pytest.mark.parametrize(("later_s", "status"), [(1.0, 200), (-1.0, 401)])
    def test_a_token_runs_out(self, sqlite, app, later_s, status):
        server, held = at(app, "10.0.0.1"), token(sqlite, person(sqlite, "cid"))
        with sqlite.write() as connection:
            connection.execute(update(api_token).values(expires_at=now() + 1000 * later_s))
        got = server.get(ME, headers=held)
        assert (got.status_code, got.headers.get("www-authenticate")) == (status, "Bearer" if status == 401 else None)

    def test_days_are_of_24_hours_and_none_is_for_ever(self, sqlite, app):
        server, held = at(app, "10.0.0.1"), token(sqlite, person(sqlite, "cid"))
        for days in (2, None):
            assert server.post("/api/v1/tokens", headers=held, json={"days": days}).status_code == 201
        with sqlite.read() as connection:
            asked = select(api_token.c.expires_at - api_token.c.created_at).order_by(api_token.c.id)
            _, first, second = connection.scalars(asked)
        assert first == pytest.approx(172_800, abs=60)
        assert second is None

    def test_a_revoked_one_and_those_of_who_is_shut_out(self, sqlite, app):
        server, cid = at(app, "10.0.0.1"), person(sqlite, "cid")
        revoked, kept = token(sqlite, cid), token(sqlite, cid)
        with sqlite.write() as connection:
            held = accounts.by_token(connection, revoked["authorization"].removeprefix("Bearer "))
            assert held is not None
            assert held.token is not None
            assert accounts.revoke_token(connection, held.token, cid.id, cid.actor)
        assert [server.get(ME, headers=one).status_code for one in (revoked, kept)] == [401, 200]
        with sqlite.write() as connection:
            accounts.disable_user(connection, "cid", disabled=True)
        assert server.get(ME, headers=kept).status_code == 401

    def test_only_a_digest_of_it_is_stored(self, sqlite):
        secret = token(sqlite, person(sqlite, "cid"))["authorization"].removeprefix("Bearer ")
        with sqlite.read() as connection:
            [row] = connection.execute(select(api_token))
        assert (row.sha256, row.prefix) == (accounts.sha256(secret), secret[:12])
        assert not [value for value in row if secret in str(value)]


def cookie_of(response) -> Morsel:
    return SimpleCookie(response.headers["set-cookie"])["heed_session"]


class TestTheCookie:
    @pytest.mark.parametrize(("url", "secure"), [("https://labels.example", True), ("http://127.0.0.1:8000", "")])
    def test_scripts_and_other_sites_do_not_get_it_and_https_keeps_it_to_itself(self, app, url, secure):
        done = cookie_of(try_in(at(app, "10.0.0.1", url), "ann", PASSWORD))
        assert (done["httponly"], done["samesite"], done["secure"]) == (True, "lax", secure)
        assert (done["path"], done["max-age"], done["domain"]) == ("/", str(14 * 86_400), "")
        assert len(done.value) >= 43  # 256 bits

    @pytest.mark.parametrize(("proxy", "secure"), [("127.0.0.1", True), ("10.0.0.1", "")])
    def test_a_proxy_on_this_machine_says_whether_it_was_https(self, sqlite, monkeypatch, proxy, secure):
        monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
        with sqlite.write() as connection:
            accounts.add_user(connection, "ann", password=PASSWORD)
        served = configuration(sqlite)
        served.load()
        told = {"x-forwarded-proto": "https", "x-forwarded-for": "10.1.2.3"}
        client = at(served.loaded_app, proxy)
        for _ in range(5):
            client.post("/login", data={"username": "nobody", "password": "wrong wrong"}, headers=told)
        told["x-forwarded-for"] = "10.1.2.4"
        got = client.post("/login", data={"username": "ann", "password": PASSWORD}, headers=told)
        if proxy == "127.0.0.1":
            assert cookie_of(got)["secure"] is secure
        else:  # whatever address it claims, it is the one that failed five times
            assert got.status_code == 429

    def test_it_is_taken_back_when_one_leaves(self, sqlite, app):
        client = at(app, "10.0.0.1")
        csrf = log_in(sqlite, client, person(sqlite, "cid"))
        held = client.cookies["heed_session"]
        gone = client.post("/logout", data={"csrf": csrf})
        assert cookie_of(gone)["max-age"] == "0"
        with sqlite.read() as connection:
            assert accounts.by_session(connection, held) is None
