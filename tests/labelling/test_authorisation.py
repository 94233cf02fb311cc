"""Every route of the application by everybody: who may, and that nobody else does."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import func, insert, select
from starlette.testclient import TestClient

from heedful.labelling import projects, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database, now
from heedful.labelling.tables import api_token, export_run, flag, item
from heedful.labelling.web import app
from heedful.labelling.web.app import create_app
from tests.labelling.conftest import better, make_project, person
from tests.labelling.test_app import log_in, token

ROLES = ("nobody", "stranger", "annotator", "adjudicator", "manager", "admin")
"""Each may what those before it may."""
HOLDER = "holder"
"""Only who holds the task, or gave the answer: none of the above."""
API, PAGE = "/api/v1", "/p/{slug}"
PROJECT = f"{API}/projects/{{slug}}"
PUBLIC = {
    *{("GET", "/login"), ("POST", "/login"), ("GET", "/enter/{secret}"), ("POST", "/enter/{secret}")},
    *{("POST", "/logout"), ("GET", "/healthz"), ("GET", "/readyz")},
}
"""Nothing is behind them that is somebody's."""
LEAST = {
    ("GET", "/"): "stranger",
    ("GET", "/account"): "stranger",
    ("POST", "/account/password"): "stranger",
    ("POST", "/account/tokens"): "stranger",
    ("POST", "/account/tokens/{token_id}/revoke"): "stranger",
    ("GET", "/users"): "admin",
    ("POST", "/users"): "admin",
    ("POST", "/users/{username}"): "admin",
    ("GET", PAGE): "annotator",
    ("POST", f"{PAGE}/submit"): HOLDER,
    ("POST", f"{PAGE}/draft"): HOLDER,
    ("POST", f"{PAGE}/skip"): HOLDER,
    ("POST", f"{PAGE}/flag"): HOLDER,
    ("GET", f"{PAGE}/guidelines"): "annotator",
    ("GET", f"{PAGE}/mine"): "annotator",
    ("GET", f"{PAGE}/mine/{{public_id}}"): HOLDER,
    ("POST", f"{PAGE}/mine/{{public_id}}"): HOLDER,
    ("GET", f"{PAGE}/adjudicate"): "adjudicator",
    ("POST", f"{PAGE}/adjudicate/{{public_id}}"): "adjudicator",
    ("GET", f"{PAGE}/dashboard"): "manager",
    ("POST", f"{PAGE}/state"): "manager",
    ("POST", f"{PAGE}/flags/{{flag_id}}"): "manager",
    ("GET", f"{PAGE}/settings"): "manager",
    ("POST", f"{PAGE}/settings"): "manager",
    ("POST", f"{PAGE}/members"): "manager",
    ("GET", f"{PAGE}/data"): "manager",
    ("POST", f"{PAGE}/import"): "manager",
    ("POST", f"{PAGE}/export"): "manager",
    ("GET", f"{PAGE}/items"): "manager",
    ("GET", f"{PAGE}/items/{{public_id}}"): "manager",
    ("POST", f"{PAGE}/items/{{public_id}}/void"): "manager",
    ("GET", f"{API}/me"): "stranger",
    ("POST", f"{API}/tokens"): "stranger",
    ("DELETE", f"{API}/tokens/{{token_id}}"): "stranger",
    ("GET", f"{API}/projects"): "stranger",
    ("POST", f"{API}/projects"): "admin",
    ("GET", PROJECT): "annotator",
    ("PATCH", PROJECT): "manager",
    ("POST", f"{PROJECT}/claim"): "annotator",
    ("GET", f"{PROJECT}/mine"): "annotator",
    ("PUT", f"{API}/slots/{{slot}}/draft"): HOLDER,
    ("POST", f"{API}/slots/{{slot}}/heartbeat"): HOLDER,
    ("POST", f"{API}/slots/{{slot}}/submit"): HOLDER,
    ("POST", f"{API}/slots/{{slot}}/skip"): HOLDER,
    ("POST", f"{API}/slots/{{slot}}/flag"): HOLDER,
    ("POST", f"{API}/annotations/{{annotation}}/revise"): HOLDER,
    ("GET", f"{PROJECT}/adjudication"): "adjudicator",
    ("POST", f"{PROJECT}/items/{{public_id}}/adjudicate"): "adjudicator",
    ("POST", f"{PROJECT}/versions"): "manager",
    ("PUT", f"{PROJECT}/members/{{username}}"): "manager",
    ("POST", f"{PROJECT}/items:import"): "manager",
    ("GET", f"{PROJECT}/items"): "manager",
    ("PATCH", f"{PROJECT}/items/{{public_id}}"): "manager",
    ("POST", f"{PROJECT}/items/{{public_id}}/void"): "manager",
    ("GET", f"{PROJECT}/stats"): "manager",
    ("GET", f"{PROJECT}/agreement"): "manager",
    ("GET", f"{PROJECT}/annotators"): "manager",
    ("GET", f"{PROJECT}/position-bias"): "manager",
    ("GET", f"{PROJECT}/gold"): "manager",
    ("GET", f"{PROJECT}/export"): "manager",
    ("GET", f"{PROJECT}/export/{{run}}"): "manager",
    ("POST", f"{PROJECT}/{{act}}"): "manager",
}
"""Route → the first role that may."""


@pytest.fixture
def server(sqlite):
    with TestClient(create_app(sqlite), base_url="http://testserver", follow_redirects=False) as client:
        yield client


@pytest.fixture
def people(sqlite) -> dict[str, Account]:
    """Accounts by their roles; those of a project are members of none yet.  And who holds tasks."""
    roles = {role: "admin" if role == "admin" else "annotator" for role in (*ROLES[1:], HOLDER)}
    return {name: person(sqlite, name, role) for name, role in roles.items()}


def things(db: Database, people: dict[str, Account], slug: str) -> dict[str, str]:
    """A project with everything that routes name: values of their parameters, and of what they are sent."""
    found = make_project(db, 4, slug=slug, overlap=3)
    with db.write() as connection:
        for role in ("annotator", "adjudicator", "manager"):
            projects.set_member(connection, slug, role, role=role)
        projects.set_member(connection, slug, HOLDER)
    holder = people[HOLDER]
    task = work.claim(db, holder, slug)
    assert task is not None
    given = work.submit(db, holder, task.slot, task.lease_token, f"first-{slug}", better("r0"))
    task = work.claim(db, holder, slug)
    assert task is not None
    work.flag_task(db, holder, task.slot, task.lease_token, "other")
    with db.write() as connection:
        ids = list(connection.scalars(select(item.c.public_id).where(item.c.project_id == found.id)))
        flags = select(flag.c.id).join(item, item.c.id == flag.c.item_id).where(item.c.project_id == found.id)
        note = {"project_id": found.id, "format": "trl", "params": {}, "manifest": {"project": slug}, "at": now()}
        run = connection.execute(insert(export_run).values(**note)).inserted_primary_key
        flag_id = connection.scalar(flags)
    assert run is not None
    return {
        "slug": slug,
        "public_id": ids[-1],
        "flag_id": str(flag_id),
        "run": str(run[0]),
        "slot": task.slot,
        "lease_token": task.lease_token,
        "annotation": given.annotation,
        "username": "stranger",
        "act": "pause",
    }


def sent(route: tuple[str, str], there: dict[str, str]) -> dict:
    """What the application is sent: what it would take from who may send it."""
    path = route[1]
    lease = {"lease_token": there["lease_token"]}
    answer = {"value": better("r1"), "client_key": there.get("key", f"key-{there['slug']}")}
    if not path.startswith(API):
        fields = {**lease, "slot": there["slot"], "client_key": answer["client_key"], "preference": "r1"}
        fields |= {"reason": "unclear", "kind": "other", "category": "ambiguous", "state": "paused"}
        return {**fields, "username": "stranger", "role": "annotator", "format": "heedful", "name": "n"}
    bodies = {
        "/tokens": {"name": "n"},
        "/projects": {"slug": f"new-{there['slug']}", "questions": {"preference": {}}},
        "/versions": {},
        "/members/{username}": {"role": "annotator"},
        "/adjudicate": {"value": better("r1"), "category": "ambiguous"},
        "/draft": {**lease, "value": better("r1")},
        "/heartbeat": lease,
        "/submit": {**lease, **answer},
        "/skip": {**lease, "reason": "unclear"},
        "/flag": {**lease, "kind": "other"},
        "/revise": answer,
    }
    return next((body for end, body in bodies.items() if path.endswith(end)), {})


def ask(db: Database, server: TestClient, who: Account | None, route: tuple[str, str], there: dict[str, str]):
    """What somebody gets."""
    method, path = route
    if path == f"{PAGE}/mine/{{public_id}}":
        there = {**there, "public_id": there["annotation"]}
    if "{token_id}" in path:
        there = {**there, "token_id": str(own_token(db, who))}
    url, body = path.format(**there), sent(route, there)
    server.cookies.clear()
    if path.startswith(API):
        headers = {} if who is None else token(db, who)
        return server.request(method, url, headers=headers, json=body if method != "GET" else None)
    csrf = "" if who is None else log_in(db, server, who)
    return server.request(method, url, data={**body, "csrf": csrf} if method == "POST" else None)


def own_token(db: Database, who: Account | None) -> int:
    """The number of a token of somebody's own."""
    if who is None:
        return 1
    token(db, who)
    with db.read() as connection:
        return connection.scalar(select(func.max(api_token.c.id)).where(api_token.c.user_id == who.id)) or 0


def may(response) -> bool:
    """Whether somebody was let in."""
    return response.status_code not in (401, 403, 404) and response.headers.get("location") != "/login"


@pytest.mark.parametrize("route", LEAST, ids=" ".join)
def test_those_may_who_are_meant_to_and_nobody_else(sqlite, server, people, route):
    least = LEAST[route]
    found = {}
    for role in ROLES:
        there = things(sqlite, people, f"p-{role}")
        got = ask(sqlite, server, people.get(role), route, there)
        assert got.status_code < 500
        # A task is somebody else's: a conflict, to those who may know that it exists.
        found[role] = may(got) and not (least == HOLDER and got.status_code == 409)
    expected = [least != HOLDER and ROLES.index(role) >= ROLES.index(least) for role in ROLES]
    assert found == dict(zip(ROLES, expected, strict=True))
    if least == HOLDER:
        there = things(sqlite, people, "p-holder")
        assert may(ask(sqlite, server, people[HOLDER], route, there))


def routes_of(db: Database) -> set[tuple[str, str]]:
    """Method and path of every route that the application has."""
    routers = [part.router for part in vars(app).values() if hasattr(part, "router")]
    there = [*create_app(db).routes, *(route for router in routers for route in router.routes)]
    return {(method, route.path) for route in there if isinstance(route, APIRoute) for method in route.methods}


def test_every_route_is_in_the_table(sqlite):
    assert routes_of(sqlite) == LEAST.keys() | PUBLIC


@pytest.mark.parametrize("form", ["page", "api"])
def test_nobody_but_an_admin_revokes_the_token_of_somebody_else(sqlite, server, people, form):
    number = own_token(sqlite, people[HOLDER])
    if form == "api":
        got = server.delete(f"{API}/tokens/{number}", headers=token(sqlite, people["manager"]))
        assert got.status_code == 404
    else:
        csrf = log_in(sqlite, server, people["manager"])
        server.post(f"/account/tokens/{number}/revoke", data={"csrf": csrf})
    with sqlite.read() as connection:
        assert connection.scalar(select(api_token.c.revoked_at).where(api_token.c.id == number)) is None
