"""The JSON interface under /api/v1: what the pages do, for programs with a token."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import select

from heedful.labelling import (
    accounts,
    adjudicating,
    agreement_tables,
    exporting,
    importing,
    items,
    projects,
    quality,
    slots,
    versions,
    work,
)
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.export_files import keep_note
from heedful.labelling.exporting import Asked
from heedful.labelling.formats.training import Shape
from heedful.labelling.projects import Project
from heedful.labelling.tables import export_run, item
from heedful.labelling.web.bodies import (
    Decision,
    Draft,
    Flag,
    Lease,
    Member,
    NewProject,
    NewToken,
    NewVersion,
    Revision,
    Skip,
    Submission,
)
from heedful.labelling.web.callers import DB, Labeller, Manager, Reader, item_of, member, of_project
from heedful.labelling.work import Refused

router = APIRouter(prefix="/api/v1")

Number = Annotated[int, Path(ge=1, le=2**53)]
"""Of a row."""


@router.get("/me")
def me(account: Reader) -> dict[str, Any]:
    """Who asks."""
    return {"username": account.username, "role": account.role, "scopes": list(account.scopes)}


@router.post("/tokens", status_code=201)
def new_token(body: NewToken, db: DB, account: Manager) -> dict[str, Any]:
    """A token; it is shown here and never again."""
    more = [scope for scope in body.scopes if account.via == "token" and scope not in account.scopes]
    if more:
        raise Refused(403, f"a token without {', '.join(more)} cannot make one with it")
    with db.write() as connection:
        secret = accounts.make_token(connection, account.id, body.name, body.scopes, body.days, account.actor)
    return {"token": secret}


@router.delete("/tokens/{token_id}", status_code=204)
def drop_token(token_id: Number, db: DB, account: Manager) -> None:
    """Revoke a token."""
    with db.write() as connection:
        if not accounts.revoke_token(connection, token_id, None if account.is_admin else account.id, account.actor):
            raise Refused(404, "there is no such token")


@router.get("/projects")
def list_projects(db: DB, account: Reader) -> list[dict[str, Any]]:
    """The projects that one sees."""
    with db.read() as connection:
        found = projects.projects_for(connection, account)
    return [{"slug": row["slug"], "name": row["name"], "state": row["state"], "role": row["role"]} for row in found]


@router.post("/projects", status_code=201)
def new_project(body: NewProject, db: DB, account: Manager) -> dict[str, Any]:
    """Make a project; for admins and managers."""
    if account.role not in ("admin", "manager"):
        raise Refused(403, "only managers make projects")
    with db.write() as connection:
        questions = projects.questions_of(body.questions.model_dump(exclude_none=True))
        made = versions.create_project(
            connection,
            body.slug,
            questions,
            name=body.name,
            guidelines=body.guidelines,
            settings=body.settings,
            actor=account.actor,
        )
    return _project(made)


@router.get("/projects/{slug}")
def one_project(slug: str, db: DB, account: Reader) -> dict[str, Any]:
    """A project as it is now; settings are the managers' affair."""
    found = of_project(db, account, slug, "see")
    shown = _project(found)
    if not member(db, account, found).may_manage:
        del shown["settings"]
    return shown


@router.post("/projects/{slug}/versions", status_code=201)
def new_version(slug: str, body: NewVersion, db: DB, account: Manager) -> dict[str, int]:
    """Other questions, guidelines or settings from now on."""
    found = of_project(db, account, slug, "manage")
    questions = found.questions if body.questions is None else body.questions
    guidelines = found.guidelines if body.guidelines is None else body.guidelines
    with db.write() as connection:
        settings = body.settings or found.settings
        return {"version": versions.add_version(connection, slug, questions, guidelines, settings, account.actor)}


@router.put("/projects/{slug}/members/{username}", status_code=204)
def put_member(slug: str, username: str, body: Member, db: DB, account: Manager) -> None:
    """Make somebody a member, or change what they are."""
    of_project(db, account, slug, "manage")
    with db.write() as connection:
        projects.set_member(connection, slug, username, **body.model_dump(), actor=account.actor)


async def whole_body(request: Request) -> bytes:
    """What was sent, whatever it calls itself."""
    return await request.body()


NDJSON = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}}


@router.post("/projects/{slug}/items:import", openapi_extra=NDJSON)
def import_items(
    slug: str,
    db: DB,
    account: Manager,
    body: Annotated[bytes, Depends(whole_body)],
    format: Literal["items", "argilla", "label-studio", "arena"] = "items",
    dry_run: bool = False,
    on_conflict: items.Conflict = "skip",
) -> dict[str, Any]:
    """Items as JSON Lines.  Bad rows are named; the rest goes in, or with dry_run nothing."""
    of_project(db, account, slug, "manage")
    refused: list[tuple[str, str]] = []
    warnings: list[str] = []
    try:
        lines = body.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise Refused(422, "the body is no UTF-8 text") from None
    rows = importing.items_of(importing.json_lines(lines), format, warnings.append)
    with db.write() as connection:
        added = items.add_items(
            connection,
            slug,
            importing.kept(rows, refused),
            on_conflict=on_conflict,
            dry_run=dry_run,
            actor=account.actor,
        )
    problems = [{"at": origin, "reason": reason} for origin, reason in [*refused, *added.refused]]
    counts = {"added": added.added, "updated": added.updated, "skipped": added.skipped, "answers": added.answers}
    return {**counts, "refused": problems, "warnings": warnings}


@router.get("/projects/{slug}/items")
def list_items(
    slug: str,
    db: DB,
    account: Reader,
    state: Literal["open", "complete", "disputed", "final", "void"] | None = None,
    cursor: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Items, page by page."""
    found = of_project(db, account, slug, "manage")
    asked = select(item).where(item.c.project_id == found.id, item.c.position > cursor)
    if state is not None:
        asked = asked.where(item.c.state == state)
    with db.read() as connection:
        rows = connection.execute(asked.order_by(item.c.position).limit(limit)).all()
    fields = ("public_id", "external_id", "kind", "state", "priority", "overlap", "prompt")
    listed = [{name: getattr(row, name) for name in fields} for row in rows]
    return {"items": listed, "cursor": rows[-1].position if len(rows) == limit else None}


@router.post("/projects/{slug}/items/{public_id}/void", status_code=204)
def void(slug: str, public_id: str, db: DB, account: Manager) -> None:
    """Take an item out."""
    found = of_project(db, account, slug, "manage")
    with db.write() as connection:
        slots.void_item(connection, item_of(connection, found, public_id), account.actor)


@router.post("/projects/{slug}/claim", responses={204: {"description": "nothing left"}}, response_model=None)
def claim(slug: str, db: DB, account: Labeller) -> Response | dict[str, Any]:
    """The next task; 204 if there is none."""
    of_project(db, account, slug, "see")
    task = work.claim(db, account, slug)
    if task is None:
        return Response(status_code=204)
    return _task(task) | {"progress": _progress(db, account, slug)}


@router.put("/slots/{slot}/draft", status_code=204)
def draft(slot: str, body: Draft, db: DB, account: Labeller) -> None:
    """Keep an unfinished answer."""
    work.save_draft(db, account, slot, body.lease_token, body.value)


@router.post("/slots/{slot}/heartbeat")
def heartbeat(slot: str, body: Lease, db: DB, account: Labeller) -> dict[str, float]:
    """Still at it."""
    return {"lease_until": work.heartbeat(db, account, slot, body.lease_token)}


@router.post("/slots/{slot}/submit", status_code=201)
def submit(slot: str, body: Submission, response: Response, db: DB, account: Labeller) -> dict[str, Any]:
    """Take an answer: 201, or 200 for one that came before under the same client_key."""
    times = body.timing.model_dump()
    done = work.submit(db, account, slot, body.lease_token, body.client_key, body.value, version=body.version, **times)
    if done.duplicate:
        response.status_code = 200
    return asdict(done)


@router.post("/slots/{slot}/skip", status_code=204)
def skip(slot: str, body: Skip, db: DB, account: Labeller) -> None:
    """Not this one."""
    work.skip_task(db, account, slot, body.lease_token, body.reason, body.comment)


@router.post("/slots/{slot}/flag", status_code=204)
def flag(slot: str, body: Flag, db: DB, account: Labeller) -> None:
    """Something is wrong with it."""
    work.flag_task(db, account, slot, body.lease_token, body.kind, body.comment)


@router.get("/projects/{slug}/mine")
def mine(slug: str, db: DB, account: Labeller, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[dict[str, Any]]:
    """One's own last answers."""
    of_project(db, account, slug, "see")
    with db.read() as connection:
        return work.mine(connection, account, slug, limit)


@router.post("/annotations/{annotation}/revise", status_code=201)
def revise(annotation: str, body: Revision, db: DB, account: Labeller) -> dict[str, Any]:
    """Change one's mind."""
    return asdict(work.revise(db, account, annotation, body.value, body.client_key, version=body.version))


@router.get("/projects/{slug}/stats")
def stats(slug: str, db: DB, account: Reader) -> dict[str, Any]:
    """Counts."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        return quality.overview(connection, found)


@router.get("/projects/{slug}/agreement")
def agreement(slug: str, db: DB, account: Reader, question: str | None = None) -> dict[str, Any]:
    """How far labellers agree, of every question or of one."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        table = agreement_tables.agreement_in(connection, found)
    if question is None:
        return table
    if question not in table:
        raise Refused(404, f"nobody answered {question!r}")
    return {question: table[question]}


@router.get("/projects/{slug}/annotators")
def annotators(slug: str, db: DB, account: Reader) -> list[dict[str, Any]]:
    """Everybody's speed, position bias, gold accuracy and agreement with themselves."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        return quality.labellers(connection, found)


@router.get("/projects/{slug}/adjudication")
def adjudication(slug: str, db: DB, account: Reader) -> list[dict[str, Any]]:
    """Disputed items with the answers they got."""
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        queue = adjudicating.queue(connection, found)
        ids = select(item.c.id, item.c.public_id).where(item.c.id.in_([one.id for one in queue]))
        public = {row.id: row.public_id for row in connection.execute(ids)}
    return [
        {
            "item": public[one.id],
            "prompt": one.prompt,
            "responses": [{"key": row.key, "messages": row.content} for row in one.responses],
            "answers": [{"value": value} for value in one.values],
        }
        for one in queue
    ]


@router.post("/projects/{slug}/items/{public_id}/adjudicate", status_code=204)
def adjudicate(slug: str, public_id: str, body: Decision, db: DB, account: Manager) -> None:
    """Decide a disputed item."""
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        item_of(connection, found, public_id)
    adjudicating.adjudicate(db, account.actor, public_id, body.value, body.category, body.note)


@router.get("/projects/{slug}/export")
def export(
    slug: str,
    db: DB,
    account: Manager,
    format: str = "trl",
    aggregate: Literal["majority", "onecoin"] = "majority",
    min_n: Annotated[int, Query(ge=1, le=1000)] = 1,
    min_confidence: Annotated[float, Query(ge=0, le=1)] = 0.0,
    ties: Literal["drop", "soft"] = "drop",
    style: Literal["explicit", "implicit", "standard"] = "explicit",
    include: Annotated[list[str], Query()] = [],  # noqa: B006
    as_of: float | None = None,
) -> Response:
    """Training data as JSON Lines or CSV; its manifest is at the address in the header `x-manifest`."""
    of_project(db, account, slug, "manage")
    shape = replace(Shape(), ties=ties, style=style)
    asked = Asked(format, aggregate, min_n, min_confidence, tuple(include), as_of, shape=shape)
    with db.read() as connection:
        done = exporting.export(connection, slug, asked)
    with db.write() as connection:
        run = keep_note(connection, done, account.actor)

    headers = {"x-manifest": f"/api/v1/projects/{slug}/export/{run}"}
    return Response(done.content, media_type=done.media_type, headers=headers)


@router.get("/projects/{slug}/export/{run}")
def manifest(slug: str, run: Number, db: DB, account: Reader) -> dict[str, Any]:
    """The manifest of an export."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        here = (export_run.c.id == run) & (export_run.c.project_id == found.id)
        value = connection.execute(select(export_run.c.manifest).where(here)).scalar()
    if value is None:
        raise Refused(404, "there is no such export")
    return value


@router.post("/projects/{slug}/{act}", status_code=204, name="change state")
def change_state(slug: str, act: Literal["open", "pause", "close"], db: DB, account: Manager) -> None:
    """Open, pause or close a project."""
    of_project(db, account, slug, "manage")
    with db.write() as connection:
        state = {"open": "open", "pause": "paused", "close": "closed"}[act]
        projects.set_state(connection, slug, state, account.actor)


def _task(task: work.Task) -> dict[str, Any]:
    """What leaves the server: nothing of where responses are from, nor whether an answer is known."""
    shown = asdict(task)
    if all(one.source is None for one in task.responses):
        for one in shown["responses"]:
            del one["source"]
    return shown


def _progress(db: Database, account: Account, slug: str) -> dict[str, Any]:
    with db.read() as connection:
        return asdict(work.progress(connection, account, slug))


def _project(found: Project) -> dict[str, Any]:
    return {
        "slug": found.slug,
        "name": found.name,
        "state": found.state,
        "version": found.version,
        "questions": found.questions.model_dump(mode="json", exclude_none=True),
        "guidelines": found.guidelines,
        "settings": found.settings.model_dump(mode="json"),
    }
