"""Pages for those who run a project: dashboard, adjudication, settings, data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select

from heedful.config import dump_yaml, parse_yaml
from heedful.labelling import adjudicating, exporting, importing, items, projects, quality, versions
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.export_files import keep_note
from heedful.labelling.exporting import Asked
from heedful.labelling.tables import item, membership, user
from heedful.labelling.web import render
from heedful.labelling.web.callers import DB, Number, item_of, of_project
from heedful.labelling.web.forms import answer_of, whole
from heedful.labelling.web.showing import Form, Sender, Viewer, back, sentence, show
from heedful.labelling.web.words import choices, form_values, in_words
from heedful.labelling.work import Refused
from heedful.types import UserError

router = APIRouter(include_in_schema=False)


@router.get("/p/{slug}/dashboard")
def dashboard(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """How far it is, how far they agree, who works how."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        overview = quality.overview(connection, found)
        disputed = adjudicating.queue_length(connection, found)
        flags = adjudicating.open_flags(connection, found)
    counted = request.app.state.remembered.statistics(db, found)
    people = counted.people if counted else []
    most = max((row["answers"] for row in people), default=0)
    charts = {
        "answers": render.bars([(row["labeller"], row["answers"], str(row["answers"])) for row in people], most=most),
        "speed": render.bars(
            [(row["labeller"], row["median_s"], f"{row['median_s']:.1f} s") for row in people if row["median_s"]]
        ),
        "first": render.bars(
            [
                (
                    row["labeller"],
                    row["first_shown"]["share"],
                    f"{100 * row['first_shown']['share']:.0f} % of {row['first_shown']['n']}",
                )
                for row in people
                if row["first_shown"]
            ],
            most=1.0,
        ),
    }
    return show(
        request,
        "dashboard.html",
        account,
        project=found,
        overview=overview,
        counted=counted,
        disputed=disputed,
        flags=flags,
        charts=charts,
        position=quality.position_of_all(people),
    )


@router.post("/p/{slug}/state")
def change_state(slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Open, pause, close."""
    of_project(db, account, slug, "manage")
    with db.write() as connection:
        projects.set_state(connection, slug, str(form.get("state", "")), account.actor)
    return back(f"/p/{slug}/dashboard")


@router.post("/p/{slug}/flags/{flag_id}")
def resolve_flag(slug: str, flag_id: Number, db: DB, account: Sender) -> Response:
    """Somebody has looked at it."""
    found = of_project(db, account, slug, "manage")
    adjudicating.resolve_flag(db, account.actor, flag_id, found.id)
    return back(f"/p/{slug}/dashboard")


@router.get("/p/{slug}/adjudicate")
def adjudicate_page(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """The first disputed item with everybody's answers, their names left out."""
    return _adjudicate(request, slug, db, account)


def _adjudicate(request: Request, slug: str, db: Database, account: Account, problem: str | None = None) -> Response:
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        left = adjudicating.queue_length(connection, found)
        queue = adjudicating.queue(connection, found, 1)
        member = projects.member_of(connection, account, found.id)
        public = None
        if queue:
            public = connection.execute(select(item.c.public_id).where(item.c.id == queue[0].id)).scalar_one()
    one = queue[0] if queue else None
    said = [] if one is None else [" · ".join(in_words(value, one.keys)) for value in one.values]
    return show(
        request,
        "adjudicate.html",
        account,
        422 if problem else 200,
        project=found,
        member=member,
        one=one,
        public=public,
        left=left,
        said=said,
        given=form_values({}),
        problem=problem,
        categories=adjudicating.CATEGORIES,
        **choices(),
    )


@router.post("/p/{slug}/adjudicate/{public_id}")
def adjudicate(request: Request, slug: str, public_id: str, db: DB, account: Sender, form: Form) -> Response:
    """A disputed item is decided."""
    found = of_project(db, account, slug, "adjudicate")
    with db.read() as connection:
        item_id = item_of(connection, found, public_id)
        keys = [row.key for row in items.responses_of(connection, [item_id])[item_id]]
    value = answer_of(found.questions, keys, form)
    try:
        words = [str(form.get(name, "")) for name in ("category", "note")]
        adjudicating.adjudicate(db, account.actor, public_id, value, *words)
    except Refused as refused:
        if refused.status != 422:
            raise
        return _adjudicate(request, slug, db, account, str(refused))
    return back(f"/p/{slug}/adjudicate")


@router.get("/p/{slug}/settings")
def settings_page(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """Guidelines, questions, settings, members."""
    return _settings(request, slug, db, account)


def _settings(
    request: Request,
    slug: str,
    db: Database,
    account: Account,
    problem: str | None = None,
    written: tuple[str, str] | None = None,
) -> Response:
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        members = connection.execute(
            select(user.c.username, membership)
            .join(membership, membership.c.user_id == user.c.id)
            .where(membership.c.project_id == found.id)
            .order_by(user.c.username)
        ).all()
    plain = {
        "questions": found.questions.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        "settings": found.settings.model_dump(mode="json", exclude_defaults=True),
    }
    spelled, guide = written or (dump_yaml(plain), found.guidelines)
    status = 422 if problem else 200
    written_down = {"spelled": spelled, "guidelines": guide}
    return show(
        request, "settings.html", account, status, project=found, members=members, problem=problem, **written_down
    )


@router.post("/p/{slug}/settings")
def change_settings(request: Request, slug: str, db: DB, account: Sender, form: Form) -> Response:
    """A new version."""
    of_project(db, account, slug, "manage")
    guide = str(form.get("guidelines", "")).replace("\r\n", "\n")
    try:
        plain = parse_yaml(str(form.get("spelled", "")).replace("\r\n", "\n"), "questions and settings")
        if not set(plain) <= {"questions", "settings"}:
            raise UserError("write questions: and settings:, as they stood there.")
        questions = projects.questions_of(plain.get("questions") or {})
        settings = projects.settings_of(plain.get("settings") or {})
        with db.write() as connection:
            versions.add_version(connection, slug, questions, guide, settings, account.actor)
    except UserError as problem:
        return _settings(request, slug, db, account, sentence(problem), (str(form.get("spelled", "")), guide))
    return back(f"/p/{slug}/settings")


@router.post("/p/{slug}/members")
def change_member(request: Request, slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Add somebody, pause somebody, change what somebody may."""
    of_project(db, account, slug, "manage")
    quota = str(form.get("quota", ""))
    try:
        with db.write() as connection:
            projects.set_member(
                connection,
                slug,
                str(form.get("username", "")),
                role=str(form.get("role", "annotator")),
                paused=form.get("paused") == "on",
                quota=whole(quota) or None,
                actor=account.actor,
            )
    except UserError as problem:
        return _settings(request, slug, db, account, sentence(problem))
    return back(f"/p/{slug}/settings")


@router.get("/p/{slug}/data")
def data_page(request: Request, slug: str, db: DB, account: Viewer) -> Response:
    """Items in, training data out."""
    found = of_project(db, account, slug, "manage")
    return show(request, "data.html", account, project=found, formats=exporting.FORMATS, added=None, problem=None)


@router.post("/p/{slug}/import")
def import_items(request: Request, slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Items from a file of JSON Lines."""
    found = of_project(db, account, slug, "manage")
    refused: list[tuple[str, str]] = []
    added = problem = None
    try:
        upload: Any = form.get("file")
        text = upload.file.read().decode("utf-8-sig") if hasattr(upload, "file") else ""
        form_name = importing.check_format(str(form.get("format", "items")))
        rows = importing.items_of(importing.json_lines(text.split("\n")), form_name)
        with db.write() as connection:
            dry_run = form.get("dry_run") == "on"
            kept = importing.kept(rows, refused)
            added = items.add_items(connection, slug, kept, dry_run=dry_run, actor=account.actor)
        added.refused[:0] = refused
    except (UserError, UnicodeDecodeError) as mistake:
        problem = "The file is no UTF-8 text." if isinstance(mistake, UnicodeDecodeError) else sentence(mistake)
    formats = exporting.FORMATS
    status = 422 if problem else 200
    return show(request, "data.html", account, status, project=found, formats=formats, added=added, problem=problem)


@router.post("/p/{slug}/export")
def export(slug: str, db: DB, account: Sender, form: Form) -> Response:
    """Training data as a file."""
    of_project(db, account, slug, "manage")
    asked = Asked(str(form.get("format", "trl")), str(form.get("aggregate", "majority")))
    if whole(str(form.get("min_n", ""))) is not None:
        asked = replace(asked, min_n=int(str(form["min_n"])))
    with db.read() as connection:
        done = exporting.export(connection, slug, asked)
    with db.write() as connection:
        run = keep_note(connection, done, account.actor)
    manifest = form.get("what") == "manifest"
    content = json.dumps(done.manifest, indent=1) if manifest else done.content
    ending = "manifest.json" if manifest else "csv" if asked.is_table else "jsonl"
    headers = {"content-disposition": f'attachment; filename="{slug}-{asked.format}-{run}.{ending}"'}
    return Response(content, media_type="application/json" if manifest else done.media_type, headers=headers)
