"""The JSON interface under /api/v1: tokens, projects, items in and training data out."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import select

from heedful.labelling import accounts, exporting, importing, items, projects, slots, versions
from heedful.labelling.export_files import keep_note
from heedful.labelling.exporting import Asked
from heedful.labelling.formats.training import Shape
from heedful.labelling.projects import Project
from heedful.labelling.tables import export_run, item
from heedful.labelling.web.bodies import ItemChange, Member, NewProject, NewToken, NewVersion, ProjectChange
from heedful.labelling.web.callers import DB, Manager, Number, Reader, item_of, member, of_project
from heedful.labelling.work import Refused

router = APIRouter(prefix="/api/v1")


@router.get("/me")
def me(account: Reader) -> dict[str, Any]:
    """Who asks."""
    return {"username": account.username, "role": account.role, "scopes": list(account.scopes)}


@router.post("/tokens", status_code=201)
def new_token(body: NewToken, db: DB, account: Manager) -> dict[str, Any]:
    """A token, shown here and never again, and its id, by which it can be revoked."""
    more = [scope for scope in body.scopes if account.via == "token" and scope not in account.scopes]
    if more:
        raise Refused(403, f"a token without {', '.join(more)} cannot make one with it")
    with db.write() as connection:
        secret = accounts.make_token(connection, account.id, body.name, body.scopes, body.days, account.actor)
        made = accounts.by_token(connection, secret)
    assert made is not None
    return {"id": made.token, "token": secret}


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


@router.patch("/projects/{slug}")
def change_project(slug: str, body: ProjectChange, db: DB, account: Manager) -> dict[str, Any]:
    """Another name, or another value of some settings, which makes a new version; what is left out stays."""
    of_project(db, account, slug, "manage")
    with db.write() as connection:
        if body.name is not None:
            projects.rename(connection, slug, body.name, account.actor)
        found = projects.get_project(connection, slug)
        if body.settings:
            settings = projects.settings_of({**found.settings.model_dump(), **body.settings})
            versions.add_version(connection, slug, found.questions, found.guidelines, settings, account.actor)
        return _project(projects.get_project(connection, slug))


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
    """Items as they came, page by page: the next one begins at `cursor`, which is null on the last."""
    found = of_project(db, account, slug, "manage")
    asked = select(item).where(item.c.project_id == found.id, item.c.id > cursor)
    if state is not None:
        asked = asked.where(item.c.state == state)
    with db.read() as connection:
        rows = connection.execute(asked.order_by(item.c.id).limit(limit)).all()
    return {"items": [_item(row) for row in rows], "cursor": rows[-1].id if len(rows) == limit else None}


@router.patch("/projects/{slug}/items/{public_id}")
def change_item(slug: str, public_id: str, body: ItemChange, db: DB, account: Manager) -> dict[str, Any]:
    """Another priority, or another number of answers that are wanted; what is left out stays."""
    found = of_project(db, account, slug, "manage")
    with db.write() as connection:
        item_id = item_of(connection, found, public_id)
        slots.change_item(connection, found, item_id, body.model_dump(exclude_unset=True), account.actor)
        return _item(connection.execute(select(item).where(item.c.id == item_id)).one())


@router.post("/projects/{slug}/items/{public_id}/void", status_code=204)
def void(slug: str, public_id: str, db: DB, account: Manager) -> None:
    """Take an item out."""
    found = of_project(db, account, slug, "manage")
    with db.write() as connection:
        slots.void_item(connection, item_of(connection, found, public_id), account.actor)


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


def _item(row: Any) -> dict[str, Any]:
    fields = ("public_id", "external_id", "kind", "state", "priority", "overlap", "prompt")
    return {name: getattr(row, name) for name in fields}


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
