"""Pages to come in by: links, passwords, tokens, and everybody's accounts."""

from __future__ import annotations

from math import ceil
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from heedful.labelling import accounts
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.limits import Limiter
from heedful.labelling.tables import user
from heedful.labelling.web.callers import DB, Number
from heedful.labelling.web.guard import COOKIE, check_origin, set_cookie
from heedful.labelling.web.showing import Form, Sender, Viewer, back, sentence, show
from heedful.labelling.work import Refused
from heedful.types import UserError

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request) -> Response:
    """Where one logs in."""
    return show(request, "login.html", problem=None)


@router.post("/login")
def login(request: Request, db: DB, form: Form) -> Response:
    """Name and password; after five failures a minute it takes longer."""
    check_origin(request)
    name, limiter = str(form.get("username", "")), request.app.state.limiter
    address = request.client.host if request.client else ""
    keys = (f"user {name.strip().lower()}", f"address {address}")
    wait = limiter.begin(*keys)
    if wait > 0:
        return _wait_first(show(request, "login.html", None, 429, problem=_too_often(wait)), wait)
    user_id = accounts.check_password(db, name, str(form.get("password", "")))
    if user_id is None:
        return show(request, "login.html", None, 401, problem="This name and password do not belong together.")
    limiter.succeeded(*keys)
    return _entered(request, db, user_id)


def _too_often(wait_s: float) -> str:
    return f"Too many attempts. Try again in {ceil(wait_s)} seconds."


def _wait_first(response: Response, wait_s: float) -> Response:
    response.headers["retry-after"] = str(ceil(wait_s))
    return response


def _entered(request: Request, db: Database, user_id: int) -> RedirectResponse:
    with db.write() as connection:
        secret = accounts.begin_session(connection, user_id)
    response = back("/")
    set_cookie(response, request, secret)
    return response


@router.get("/enter/{secret}")
def enter_page(request: Request, secret: str, db: DB) -> Response:
    """A one-time link: choose a password.  Looking at it does not use it up."""
    return _enter_page(request, secret, db)


def _enter_page(request: Request, secret: str, db: Database, problem: str | None = None) -> Response:
    with db.read() as connection:
        owner = accounts.owner_of_link(connection, secret)
    status = 410 if owner is None else 422 if problem else 200
    return show(request, "enter.html", None, status, secret=secret, owner=owner, problem=problem)


@router.post("/enter/{secret}")
def enter(request: Request, secret: str, db: DB, form: Form) -> Response:
    """The password is chosen; the link is used up."""
    check_origin(request)
    password = str(form.get("password", ""))
    if password != str(form.get("again", "")):
        return _enter_page(request, secret, db, "The two passwords differ.")
    try:
        accounts.hash_password(password)
    except UserError as problem:
        return _enter_page(request, secret, db, sentence(problem))
    with db.write() as connection:
        user_id = accounts.use_link(connection, secret)
        if user_id is not None:
            accounts.set_password(connection, user_id, password, accounts.Actor(user_id, "session"))
    if user_id is None:
        return _enter_page(request, secret, db)
    return _entered(request, db, user_id)


@router.post("/logout")
def logout(request: Request, db: DB, account: Sender) -> Response:
    """The session ends."""
    with db.write() as connection:
        accounts.end_session(connection, request.cookies.get(COOKIE, ""))
    response = back("/login")
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/account")
def account_page(request: Request, db: DB, account: Viewer) -> Response:
    """Password and tokens."""
    return show(request, "account.html", account, tokens=_tokens(db, account), problem=None, secret=None)


@router.post("/account/password")
def change_password(request: Request, db: DB, account: Sender, form: Form) -> Response:
    """A new password, by somebody who knows the old one."""
    problem, key = None, f"user {account.username}"
    limiter: Limiter = request.app.state.limiter
    wait = limiter.begin(key)
    if wait > 0:
        told = {"tokens": _tokens(db, account), "problem": _too_often(wait), "secret": None}
        return _wait_first(show(request, "account.html", account, 429, **told), wait)
    if accounts.check_password(db, account.username, str(form.get("old", ""))) is None:
        problem = "The present password is another."
    else:
        limiter.succeeded(key)
        try:
            with db.write() as connection:
                accounts.set_password(connection, account.id, str(form.get("password", "")), account.actor)
        except UserError as mistake:
            problem = sentence(mistake)
    if problem is None:
        return _entered(request, db, account.id)
    tokens = _tokens(db, account)
    return show(request, "account.html", account, 422, tokens=tokens, problem=problem, secret=None)


@router.post("/account/tokens")
def make_token(request: Request, db: DB, account: Sender, form: Form) -> Response:
    """A token, shown once."""
    scopes = [str(scope) for scope in form.getlist("scope")]
    try:
        with db.write() as connection:
            secret = accounts.make_token(connection, account.id, str(form.get("name", "")), scopes, 90, account.actor)
    except UserError as mistake:
        tokens, problem = _tokens(db, account), sentence(mistake)
        return show(request, "account.html", account, 422, tokens=tokens, problem=problem, secret=None)
    return show(request, "account.html", account, tokens=_tokens(db, account), problem=None, secret=secret)


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(token_id: Number, db: DB, account: Sender) -> Response:
    """A token is no longer valid."""
    with db.write() as connection:
        accounts.revoke_token(connection, token_id, account.id, account.actor)
    return back("/account")


def _tokens(db: Database, account: Account) -> list[Any]:
    from heedful.labelling.tables import api_token

    mine = (api_token.c.user_id == account.id) & api_token.c.revoked_at.is_(None)
    with db.read() as connection:
        return list(connection.execute(select(api_token).where(mine).order_by(api_token.c.id)))


@router.get("/users")
def users_page(request: Request, db: DB, account: Viewer) -> Response:
    """Everybody, for admins."""
    return _users(request, db, account)


def _users(
    request: Request, db: Database, account: Account, link: str | None = None, problem: str | None = None
) -> Response:
    if not account.is_admin:
        raise Refused(403, "only admins see all users")
    with db.read() as connection:
        everybody = connection.execute(select(user).order_by(user.c.username)).all()
    status = 422 if problem else 200
    return show(request, "users.html", account, status, users=everybody, link=link, problem=problem)


@router.post("/users")
def add_user(request: Request, db: DB, account: Sender, form: Form) -> Response:
    """A new account, entered by a link that is shown once."""
    if not account.is_admin:
        raise Refused(403, "only admins make accounts")
    try:
        with db.write() as connection:
            role = str(form.get("role", "annotator"))
            user_id = accounts.add_user(connection, str(form.get("username", "")), role=role, actor=account.actor)
            link = accounts.make_link(connection, user_id)
    except UserError as mistake:
        return _users(request, db, account, problem=sentence(mistake))
    return _users(request, db, account, link=str(request.url_for("enter_page", secret=link)))


@router.post("/users/{username}")
def change_user(request: Request, username: str, db: DB, account: Sender, form: Form) -> Response:
    """Shut somebody out, let them in again, or give them a new link."""
    if not account.is_admin:
        raise Refused(403, "only admins change accounts")
    link = None
    try:
        with db.write() as connection:
            if form.get("act") == "link":
                link = accounts.make_link(connection, accounts.find_user(connection, username))
            else:
                accounts.disable_user(connection, username, disabled=form.get("act") == "disable", actor=account.actor)
    except UserError as mistake:
        return _users(request, db, account, problem=sentence(mistake))
    return _users(request, db, account, link=None if link is None else str(request.url_for("enter_page", secret=link)))
