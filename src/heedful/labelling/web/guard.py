"""What stands between the network and the pages: headers, size limits, sessions, tokens, CSRF and Origin checks."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import FormData, Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request

from heedful.labelling import accounts
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.work import Refused

COOKIE = "heed_session"
SAFE = ("GET", "HEAD", "OPTIONS")
MOST_BYTES = 1 << 20
"""Of a request's body."""
MOST_IMPORTED = 1 << 29
"""Of an import's; larger ones go through `heed label import`."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TooLarge(Exception):
    """A body over the limit."""


class Guard:
    """ASGI middleware: a nonce for the page's own script, security headers on everything, a limit for bodies."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        most = MOST_IMPORTED if scope["path"].endswith(("/items:import", "/import")) else MOST_BYTES
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > most:
            await self._refuse(send)
            return
        size, begun = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size
            event = await receive()
            size += len(event.get("body", b""))
            if size > most:
                raise TooLarge
            return event

        async def with_headers(event: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if event["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(raw=event["headers"])
                for name, value in _headers(nonce, scope).items():
                    headers[name] = value
            await send(event)

        try:
            await self.app(scope, counted, with_headers)
        except TooLarge:
            if not begun:
                await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"detail":"the request is too large"}'})


def _headers(nonce: str, scope: Scope) -> dict[str, str]:
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    found = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",  # with no-referrer browsers call our own forms' origin null
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
    }
    if not scope["path"].startswith("/static/"):
        found["cache-control"] = "no-store"
    return found


def account_of(db: Database, connection: HTTPConnection) -> Account | None:
    """Who asks: by a bearer token, or by the session's cookie."""
    header = connection.headers.get("authorization", "")
    with db.read() as reading:
        if header.lower().startswith("bearer "):
            return accounts.by_token(reading, header[7:].strip())
        cookie = connection.cookies.get(COOKIE)
        return accounts.by_session(reading, cookie) if cookie else None


def check_origin(request: Request) -> None:
    """Raises Refused for a request that another site's page sends."""
    origin = request.headers.get("origin") or request.headers.get("referer")
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise Refused(403, "this request came from another site")
    if origin is None:
        return
    try:
        site = urlsplit(origin).netloc
    except ValueError:
        site = None
    if site != request.headers.get("host", ""):
        raise Refused(403, "this request came from another site")


def check_csrf(request: Request, account: Account, form: FormData | None = None) -> None:
    """Raises Refused unless an act by a session carries the session's secret, in a header or in the form."""
    if account.via != "session" or request.method in SAFE:
        return
    check_origin(request)
    sent = request.headers.get("x-csrf-token") or (form.get("csrf") if form is not None else None)
    if not isinstance(sent, str) or not accounts.is_same(account.csrf, sent):
        raise Refused(403, "this page is too old; load it again")


def set_cookie(response: Any, request: Request, secret: str) -> None:
    """The session's cookie; sent over https only where the site is."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(accounts.SESSION_S),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path="/",
    )
