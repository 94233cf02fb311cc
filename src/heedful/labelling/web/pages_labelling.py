"""Pages to label on: forms that work without JavaScript."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import select

from heedful.labelling import items, projects, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.questions import well_formed
from heedful.labelling.tables import annotation, item
from heedful.labelling.web.callers import DB, of_project
from heedful.labelling.web.forms import answer_of, whole
from heedful.labelling.web.showing import Form, Sender, Viewer, back, show
from heedful.labelling.web.words import choices, form_values, in_words, scores_in_words
from heedful.labelling.work import Refused

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request, db: DB, account: Viewer) -> Response:
    """One's projects."""
    with db.read() as connection:
        found = projects.projects_for(connection, account)
    return show(request, "home.html", account, projects=found)


@router.get("/p/{slug}")
def label_page(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """The next item."""
    return _label(request, slug, db, account)


def _label(
    request: Request,
    slug: str,
    db: Database,
    account: Account,
    *,
    status: int = 200,
    problem: str | None = None,
    given: Mapping[str, Any] | None = None,
    given_to: str = "",
    feedback: Mapping[str, Any] | None = None,
) -> Response:
    """The page of the next item.  given: an answer that was not taken; filled in if the item is still that slot's."""
    found = of_project(db, account, slug, "see")
    try:
        task, why = work.claim(db, account, slug), None
    except Refused as refused:
        task, why = None, str(refused)
    if task is None or task.slot != given_to:  # an answer to one item is none to another
        given = None
    given = given or (task.draft if task else None) or {}
    said = {"why": why, "problem": problem, "feedback": feedback}
    return _form(request, db, account, found, task, given, f"/p/{slug}/submit", status, **said)


def _form(
    request: Request,
    db: Database,
    account: Account,
    found: projects.Project,
    task: work.Task | None,
    given: Mapping[str, Any],
    action: str,
    status: int,
    *,
    why: str | None = None,
    problem: str | None = None,
    feedback: Mapping[str, Any] | None = None,
) -> Response:
    """The page that asks.  why: there is no task.  given: what is filled in.  action: where the form is sent."""
    with db.read() as connection:
        progress = work.progress(connection, account, found.slug)
        member = projects.member_of(connection, account, found.id)
    return show(
        request,
        "label.html",
        account,
        status,
        project=found,
        member=member,
        task=task,
        why=why,
        progress=progress,
        given=form_values(given),
        suggestions=_suggested(found, task),
        problem=problem,
        feedback=feedback,
        client_key=secrets.token_hex(16),
        action=action,
        **choices(),
    )


def _suggested(found: projects.Project, task: work.Task | None) -> list[dict[str, Any]]:
    """What models suggest as answers to the questions, in the words of the page."""
    if task is None:
        return []
    shown = [one.key for one in task.responses]
    said = [well_formed(found.questions, shown, one["value"]) for one in task.suggestions]
    return [
        {**one, "words": in_words(value, shown), "scores": scores_in_words(one["value"], shown)}
        for one, value in zip(task.suggestions, said, strict=True)
    ]


def _keys(db: Database, slot: str, account: Account) -> list[str]:
    """The responses of the task, in the order of the data."""
    from heedful.labelling.tables import response
    from heedful.labelling.tables import slot as slots

    asked = select(response.c.key).join(slots, slots.c.item_id == response.c.item_id)
    mine = (slots.c.public_id == slot) & (slots.c.user_id == account.id)
    with db.read() as connection:
        return list(connection.execute(asked.where(mine).order_by(response.c.id)).scalars())


@router.post("/p/{slug}/submit")
def submit(request: Request, slug: str, db: DB, account: Sender, form: Form) -> Response:
    """An answer; then the next item."""
    found = _as_shown(db, of_project(db, account, slug, "see"), form)
    slot = str(form.get("slot", ""))
    value = answer_of(found.questions, _keys(db, slot, account), form)
    times = {name: _whole(form.get(name)) for name in ("active_ms", "wall_ms")}
    try:
        lease, client_key = str(form.get("lease_token", "")), str(form.get("client_key", ""))
        done = work.submit(db, account, slot, lease, client_key, value, version=found.version, **times)
    except Refused as refused:
        if request.headers.get("accept") == "application/json":
            return JSONResponse({"detail": str(refused), "problems": refused.problems}, refused.status)
        said = {"problem": str(refused), "given": value, "given_to": slot}
        return _label(request, slug, db, account, status=refused.status, **said)
    if request.headers.get("accept") == "application/json":
        return JSONResponse({"annotation": done.annotation, "feedback": done.feedback})
    if done.feedback is not None:
        return _label(request, slug, db, account, feedback=done.feedback)
    return back(f"/p/{slug}")


def _as_shown(db: Database, found: projects.Project, form: Mapping[str, Any]) -> projects.Project:
    """The project as of the version whose page was sent; as it is now if the form names none that there is."""
    version = _whole(form.get("version"))
    if version is None or not 1 <= version < found.version:
        return found
    with db.read() as connection:
        return projects.get_project(connection, found.slug, version)


def _whole(text: Any) -> int | None:
    return whole(text) if isinstance(text, str) else None


@router.post("/p/{slug}/draft")
def keep_draft(slug: str, db: DB, account: Sender, form: Form) -> Response:
    """An unfinished answer is kept; also a sign of life."""
    found = _as_shown(db, of_project(db, account, slug, "see"), form)
    slot, lease = str(form.get("slot", "")), str(form.get("lease_token", ""))
    value = answer_of(found.questions, _keys(db, slot, account), form)
    work.save_draft(db, account, slot, lease, value)
    return Response(status_code=204)


@router.post("/p/{slug}/skip")
def skip(slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Not this one."""
    words = [str(form.get(name, "")) for name in ("slot", "lease_token", "reason", "comment")]
    work.skip_task(db, account, *words)
    return back(f"/p/{slug}")


@router.post("/p/{slug}/flag")
def raise_flag(slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Something is wrong with an item."""
    words = [str(form.get(name, "")) for name in ("slot", "lease_token", "kind", "comment")]
    work.flag_task(db, account, *words)
    return back(f"/p/{slug}")


@router.get("/p/{slug}/guidelines")
def guidelines(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """The guidelines as they are now."""
    found = of_project(db, account, slug, "see")
    return show(request, "guidelines.html", account, project=found)


@router.get("/p/{slug}/mine")
def mine(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """One's last answers."""
    found = of_project(db, account, slug, "see")
    with db.read() as connection:
        listed = work.mine(connection, account, slug, found.settings.undo_window or 1)
    rows = [{**row, "chosen": in_words(row["value"], [one["key"] for one in row["responses"]])} for row in listed]
    return show(request, "mine.html", account, project=found, answers=rows)


def _own_answer(db: Database, account: Account, public_id: str) -> Any:
    here = (annotation.c.public_id == public_id) & (annotation.c.user_id == account.id)
    asked = select(annotation, item.c.prompt, item.c.context).join(item, item.c.id == annotation.c.item_id).where(here)
    with db.read() as connection:
        row = connection.execute(asked).first()
        if row is None:
            raise Refused(404, "you gave no such answer")
        return row, items.responses_of(connection, [row.item_id])[row.item_id]


@router.get("/p/{slug}/mine/{public_id}")
def revise_page(request: Request, slug: str, public_id: str, db: DB, account: Viewer) -> Response:
    """An earlier answer, to be changed."""
    return _revise(request, slug, public_id, db, account)


def _revise(
    request: Request, slug: str, public_id: str, db: Database, account: Account, problem: str | None = None
) -> Response:
    found = of_project(db, account, slug, "see")
    row, responses = _own_answer(db, account, public_id)
    by_key = {one.key: one for one in responses}
    shown = [work.Shown(key, by_key[key].content) for key in row.shown_order or by_key]
    task = work.Task("", "", 0.0, found.version, row.prompt, row.context or {}, shown, None)
    action = f"/p/{slug}/mine/{public_id}"
    return _form(request, db, account, found, task, row.value, action, 422 if problem else 200, problem=problem)


@router.post("/p/{slug}/mine/{public_id}")
def revise(request: Request, slug: str, public_id: str, db: DB, account: Sender, form: Form) -> Response:
    """An earlier answer is changed."""
    found = _as_shown(db, of_project(db, account, slug, "see"), form)
    _, responses = _own_answer(db, account, public_id)
    value = answer_of(found.questions, [one.key for one in responses], form)
    wants_json = request.headers.get("accept") == "application/json"
    try:
        done = work.revise(db, account, public_id, value, str(form.get("client_key", "")), version=found.version)
    except Refused as refused:
        if wants_json:
            return JSONResponse({"detail": str(refused), "problems": refused.problems}, refused.status)
        if refused.status == 422:
            return _revise(request, slug, public_id, db, account, str(refused))
        raise
    if wants_json:
        return JSONResponse({"annotation": done.annotation, "next": f"/p/{slug}/mine"})
    return back(f"/p/{slug}/mine")
