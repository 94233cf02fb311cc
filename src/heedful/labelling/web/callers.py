"""Who asks, and what they may."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Connection, select

from heedful.labelling import projects
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.limits import Bucket
from heedful.labelling.projects import Membership, Project
from heedful.labelling.tables import item
from heedful.labelling.web.guard import account_of, check_csrf
from heedful.labelling.work import Refused


def database(request: Request) -> Database:
    """The server's database."""
    return request.app.state.db


DB = Annotated[Database, Depends(database)]

Number = Annotated[int, Path(ge=1, le=2**53)]
"""Of a row."""


def anybody(request: Request, db: DB) -> Account:
    """Somebody who is logged in.  Raises Refused (401, and 429 for a token that asks too often)."""
    account = account_of(db, request)
    if account is None:
        raise Refused(401, "log in, or send a token")
    if account.token is not None:
        bucket: Bucket = request.app.state.bucket
        wait = bucket.wait_s(account.token)
        if wait > 0:
            sentence = f"this token asks more than {bucket.per_s:g} times a second; try again after Retry-After seconds"
            raise Refused(429, sentence, wait_s=wait)
    check_csrf(request, account)
    return account


def needs(scope: str) -> Any:
    """Somebody whose token has a scope."""

    def check(account: Annotated[Account, Depends(anybody)]) -> Account:
        if scope not in account.scopes:
            raise Refused(403, f"this token has no scope {scope!r}")
        return account

    return Depends(check)


Reader = Annotated[Account, needs("read")]


Labeller = Annotated[Account, needs("label")]


Manager = Annotated[Account, needs("manage")]


def of_project(db: Database, account: Account, slug: str, may: Literal["see", "manage", "adjudicate"]) -> Project:
    """The project, if this person may do that.  To strangers it does not exist.  Raises Refused (403, 404)."""
    with db.read() as connection:
        try:
            found = projects.get_project(connection, slug)
        except ValueError:
            raise Refused(404, "there is no such project") from None
        member = projects.member_of(connection, account, found.id)
    if member.role is None:
        raise Refused(404, "there is no such project")
    allowed = {"see": True, "manage": member.may_manage, "adjudicate": member.may_adjudicate}[may]
    if not allowed:
        raise Refused(403, "you may not do this in this project")
    return found


def item_of(connection: Connection, found: Project, public_id: str) -> int:
    """The id of an item of the project.  Raises Refused (404)."""
    here = (item.c.public_id == public_id) & (item.c.project_id == found.id)
    item_id = connection.execute(select(item.c.id).where(here)).scalar()
    if item_id is None:
        raise Refused(404, "there is no such item")
    return item_id


def member(db: Database, account: Account, found: Project) -> Membership:
    """What somebody is in a project."""
    with db.read() as connection:
        return projects.member_of(connection, account, found.id)


def refusal(problem: Refused) -> JSONResponse:
    """An act that was refused, as JSON."""
    body: dict[str, Any] = {"detail": str(problem)}
    if problem.problems:
        body["problems"] = problem.problems
    headers = {"www-authenticate": "Bearer"} if problem.status == 401 else {}
    if problem.wait_s is not None:
        headers["retry-after"] = str(ceil(problem.wait_s))
    return JSONResponse(body, problem.status, headers)
