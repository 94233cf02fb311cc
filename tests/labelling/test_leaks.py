"""What a labeller must not learn is written into a project as words of its own; then every route is asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from heedful.labelling import adjudicating, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.limits import Bucket
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.tables import export_run, flag, item, slot, user
from heedful.labelling.web.app import create_app
from heedful.types import Message
from tests.labelling.conftest import better, make_project, person
from tests.labelling.test_app import token
from tests.labelling.test_authorisation import ask, routes_of

SOURCE, SUGGESTED, EXPLAINED = "zzsource", "zzagent", "zzexplanation"
OTHERS = {
    "what somebody else wrote": "zzrationale",
    "what somebody else is called": "zzbob",
    "why somebody else passed it over": "zzskipped",
    "what somebody else reported": "zzflagged",
    "what was decided": "zznote",
    "what an item is called in the data": "zzname",
    "what the data says of an item": "zzmeta",
    "what the data says of a response": "zzbeside",
}
MARKS = {"source", "kind", "gold", "expected", "external_id", "meta", "repeat_of", "group_key", "priority", "overlap"}
"""Fields of a JSON answer that would tell, whatever they hold."""
PROMPT, SCORE = "zzprompt", "31415.9"
WORDS = [*OTHERS.values(), SOURCE, SUGGESTED, EXPLAINED, SCORE, PROMPT]
REASONED = {"preference": {}, "rationale": {}}


def secret_item(number: int, **more: Any) -> NewItem:
    answers = [
        NewResponse([Message("assistant", f"{word} {number}")], f"{SOURCE}-{word}", {"note": "zzbeside"})
        for word in ("yes", "no")
    ]
    said = {SUGGESTED: {**better("r0"), "scores": {"r0": 31415.9265, "r1": 76.0}}}
    about = {"meta": {"note": "zzmeta"}, "suggestions": said}
    return NewItem([Message("user", f"{PROMPT} {number}?")], answers, f"zzname{number}", **about, **more)


def seed(db: Database, **settings: Any) -> tuple[Account, list[dict[str, str]]]:
    """A labeller of a project that is full of secrets; what routes name, of their own and of others."""
    known = [secret_item(500 + n, gold=better("r0"), explanation=EXPLAINED) for n in range(3)]
    asked: dict[str, Any] = {"questions": REASONED, "gold_rate": 0.1, "repeat_rate": 0.1, "repeat_after": 2}
    new = [*(secret_item(n) for n in range(200)), *known]
    found = make_project(db, new_items=new, overlap=3, **asked, **settings)
    make_project(db, new_items=[secret_item(0)], slug="other", **settings)
    ann, bob = person(db, "ann", member="annotator"), person(db, "zzbob", member="annotator")
    for number in range(8):
        task = work.claim(db, bob, "p")
        assert task is not None
        work.flag_task(db, bob, task.slot, task.lease_token, "other", "zzflagged")
        if number == 7:
            work.skip_task(db, bob, task.slot, task.lease_token, "other", "zzskipped")
        else:
            value = {**better("r1"), "rationale": "zzrationale"}
            theirs = work.submit(db, bob, task.slot, task.lease_token, f"bob{number}", value).annotation
    held = work.claim(db, bob, "p")
    assert held is not None
    with db.write() as connection:
        ids = dict(connection.execute(select(item.c.external_id, item.c.public_id)).all())
        connection.execute(update(item).where(item.c.external_id == "zzname1").values(state="disputed"))
        flag_id = connection.scalar(select(flag.c.id))
        note = {"project_id": found.id, "format": "trl", "params": {}, "manifest": {"note": "zzmeta"}, "at": 1.0}
        run = connection.execute(export_run.insert().values(**note)).inserted_primary_key
    assert run is not None
    boss = person(db, "boss", "admin")
    adjudicating.adjudicate(db, boss.actor, ids["zzname0"], better("r1"), "ambiguous", "zznote")
    with db.write() as connection:  # again in the queue, so that it is shown there
        connection.execute(update(item).where(item.c.public_id == ids["zzname0"]).values(state="disputed"))
    task = work.claim(db, ann, "p")
    assert task is not None
    mine = work.submit(db, ann, task.slot, task.lease_token, "ann0", {**better("r0"), "rationale": "mine"}).annotation
    common = {"run": str(run[0]), "flag_id": str(flag_id), "act": "open", "secret": "guessed", "username": "zzbob"}
    theirs_too = {"slot": held.slot, "lease_token": "guessed", "annotation": theirs}
    own = {"slot": "", "lease_token": "", "annotation": mine}
    return ann, [
        {**common, **own, "slug": "p", "public_id": ids["zzname500"]},
        {**common, **theirs_too, "slug": "p", "public_id": ids["zzname0"]},
        {**common, **own, "slug": "other", "public_id": ids["zzname0"]},
    ]


def walk(db: Database, who: Account, about: list[dict[str, str]]) -> Iterator[tuple[str, Any]]:
    """Every route with every set of names: what comes back, head and all."""
    app = create_app(db)
    app.state.bucket = Bucket(burst=100_000)
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as server:
        for route in sorted(routes_of(db)):
            for number, there in enumerate(about):
                if not there["slot"]:
                    there = {**there, **now_held(db, who)}
                there["key"] = f"{route[0]} {route[1]} {number}"[-60:]
                got = ask(db, server, who, route, there)
                assert got.status_code < 500, (route, got.text)
                yield " ".join(route), got
        for form in ("native", "heedful", "argilla"):
            got = server.get(f"/api/v1/projects/p/export?format={form}&include=gold", headers=token(db, who))
            yield f"GET export {form}", got


def now_held(db: Database, who: Account) -> dict[str, str]:
    """The task that somebody has now; none for those who get none."""
    try:
        task = work.claim(db, who, "p")
    except work.Refused:
        task = None
    return (
        {"slot": "none", "lease_token": "none"}
        if task is None
        else {
            "slot": task.slot,
            "lease_token": task.lease_token,
        }
    )


def fields(value: Any) -> set[str]:
    """The names of all fields in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(fields, value.values()))
    return set().union(*map(fields, value)) if isinstance(value, list) else set()


def told(got: Any) -> str:
    return got.text + "\n" + "\n".join(f"{name}: {text}" for name, text in got.headers.items())


@pytest.mark.parametrize("settings", [{}, {"blind": False, "show_suggestions": True}], ids=["blind", "open"])
def test_no_route_tells_a_labeller_what_they_must_not_know(sqlite, settings):
    ann, about = seed(sqlite, **settings)
    hidden = {**OTHERS, "what was expected, and why": EXPLAINED}
    if not settings:
        hidden |= {"where a response is from": SOURCE, "what a model suggests": SUGGESTED, "its score": SCORE}
    marks = MARKS - ({"source"} if settings else set())
    seen = ""
    for route, got in walk(sqlite, ann, about):
        text = told(got)
        leaks = [what for what, word in hidden.items() if word in text]
        assert not leaks, (route, leaks)
        if got.text and "json" in got.headers.get("content-type", ""):
            assert not fields(got.json()) & marks, route
        seen += text
    for word in (PROMPT, "mine", *([SOURCE, SUGGESTED, SCORE] if settings else [])):
        assert word in seen


def test_no_route_tells_a_stranger_anything(sqlite):
    _, about = seed(sqlite)
    eve = person(sqlite, "eve")
    for route, got in walk(sqlite, eve, about):
        assert not [word for word in WORDS if word in told(got)], route


def test_the_same_walk_by_an_admin_finds_all_of_it(sqlite):
    """The test of the test: each of the words is somewhere, and the walk gets there."""
    _, about = seed(sqlite)
    with sqlite.read() as connection:
        boss = Account(connection.scalar(select(user.c.id).where(user.c.username == "boss")), "boss", "boss", "admin")
    seen = "".join(told(got) for _, got in walk(sqlite, boss, about))
    assert [word for word in WORDS if word not in seen] == []


def test_gold_and_repetitions_come_like_any_other_item(sqlite):
    """In a walk through all of them a task has the same fields, and its names are of the same kind."""
    ann, _ = seed(sqlite)
    shapes, kinds = set(), set()
    app = create_app(sqlite)
    app.state.bucket = Bucket(burst=100_000)
    held = token(sqlite, ann)
    with TestClient(app, base_url="http://testserver") as server:
        for number in range(120):
            task = server.post("/api/v1/projects/p/claim", headers=held).json()
            with sqlite.read() as connection:
                here = select(item.c.kind).join(slot, slot.c.item_id == item.c.id)
                kinds.add(connection.scalar(here.where(slot.c.public_id == task["slot"])))
            body = {"lease_token": task["lease_token"], "client_key": f"k{number}", "value": better("r0")}
            done = server.post(f"/api/v1/slots/{task['slot']}/submit", headers=held, json=body)
            shapes.add((done.status_code, *sorted(fields(task)), *sorted(fields(done.json())), len(task["slot"])))
            assert done.json()["feedback"] is None
    assert kinds == {"normal", "gold", "repeat"}
    assert len(shapes) == 1
