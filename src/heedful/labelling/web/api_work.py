"""The JSON interface to one's own work: claim, answer, skip, report, change one's mind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from heedful.labelling import work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.web.bodies import Draft, Flag, Lease, Revision, Skip, Submission
from heedful.labelling.web.callers import DB, Labeller, of_project

router = APIRouter(prefix="/api/v1")


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
