"""A page for somebody: who looks at it, who sends its form, how it is shown."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData

from heedful.labelling.accounts import Account
from heedful.labelling.web import render
from heedful.labelling.web.callers import DB
from heedful.labelling.web.guard import account_of, check_csrf


class Login(Exception):
    """Nobody is logged in."""


async def read_form(request: Request) -> FormData:
    """The form that was sent."""
    return await request.form()


Form = Annotated[FormData, Depends(read_form)]


def viewer(request: Request, db: DB) -> Account:
    """Who looks at a page.  Raises Login."""
    account = account_of(db, request)
    if account is None or account.via != "session":
        raise Login
    return account


def sender(request: Request, db: DB, form: Form) -> Account:
    """Who sends a form.  Raises Login, and Refused for one that is not ours."""
    account = viewer(request, db)
    check_csrf(request, account, form)
    return account


Viewer = Annotated[Account, Depends(viewer)]


Sender = Annotated[Account, Depends(sender)]


def show(
    request: Request, name: str, account: Account | None = None, status: int = 200, /, **values: Any
) -> HTMLResponse:
    """A page."""
    common = {"nonce": request.state.nonce, "account": account, "csrf": account.csrf if account else ""}
    return HTMLResponse(render.page(name, {**common, "page": name, **values}), status)


def back(path: str) -> RedirectResponse:
    """To another page after a form."""
    return RedirectResponse(path, 303)


def sentence(problem: Exception) -> str:
    text = str(problem).split("\n")[0]
    return text[:1].upper() + text[1:]
