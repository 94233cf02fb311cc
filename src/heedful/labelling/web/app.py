"""The application: a database, the pages, the JSON interface, and how refusals look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, StatementError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from heedful import __version__
from heedful.labelling.database import Database
from heedful.labelling.limits import Bucket, Limiter
from heedful.labelling.web import (
    api,
    api_quality,
    api_work,
    pages_entering,
    pages_items,
    pages_labelling,
    pages_managing,
)
from heedful.labelling.web.callers import refusal
from heedful.labelling.web.guard import Guard, account_of
from heedful.labelling.web.remembered import Remembered
from heedful.labelling.web.render import templates
from heedful.labelling.web.showing import Login, back, show
from heedful.labelling.work import Refused
from heedful.types import UserError

HERE = Path(__file__).parent


def create_app(db: Database) -> FastAPI:
    """The application on an open database."""
    app = FastAPI(title="Heedful labelling", version=__version__, docs_url=None, redoc_url=None)
    app.state.db, app.state.remembered = db, Remembered()
    app.state.limiter, app.state.bucket = Limiter(), Bucket()
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for part in (api_work, api_quality, api, pages_entering, pages_labelling, pages_managing, pages_items):
        app.include_router(part.router)
    app.add_middleware(Guard)
    templates()
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(UserError, _mistaken)
    app.add_exception_handler(Login, _to_login)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StatementError, _unstorable)
    app.add_exception_handler(UnicodeEncodeError, _unstorable)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> dict[str, str]:
        """The database answers."""
        with db.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        return {"status": "ready"}

    return app


def _wants_page(request: Request) -> bool:
    path = request.url.path
    asked = request.headers.get("accept", "")
    return not path.startswith(("/api/", "/static/", "/healthz", "/readyz")) and asked != "application/json"


def _refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refused)
    if not _wants_page(request):
        return refusal(problem)
    return _error_page(request, problem.status, str(problem))


def _mistaken(request: Request, problem: Exception) -> Response:
    if not _wants_page(request):
        return JSONResponse({"detail": str(problem)}, 422)
    return _error_page(request, 422, str(problem))


def _http(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    if not _wants_page(request):
        return JSONResponse({"detail": problem.detail}, problem.status_code, problem.headers)
    sentence = "there is no such page" if problem.status_code == 404 else str(problem.detail)
    return _error_page(request, problem.status_code, sentence)


def _invalid(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    errors: list[dict[str, Any]] = [
        {"loc": [str(part) for part in error["loc"]], "msg": error["msg"], "type": error["type"]}
        for error in problem.errors()
    ]
    if not _wants_page(request):
        return JSONResponse({"detail": errors}, 422)
    return _error_page(request, 422, errors[0]["msg"])


def _unstorable(request: Request, problem: Exception) -> Response:
    """A number or text that no database holds is the sender's mistake; a database that fails is not."""
    if isinstance(problem, OperationalError):
        return _refused(request, Refused(503, "the database is busy; try again"))
    if isinstance(problem, DBAPIError) and not isinstance(problem, DataError):
        raise problem
    sentence = "this holds a number or a character that cannot be stored"
    return _refused(request, Refused(422, sentence))


def _to_login(request: Request, problem: Exception) -> Response:
    if not _wants_page(request):
        return JSONResponse({"detail": "log in again"}, 401)
    return back("/login")


def _error_page(request: Request, status: int, sentence: str) -> Response:
    account = account_of(request.app.state.db, request)
    sentence = sentence[:1].upper() + sentence[1:]
    return show(request, "error.html", account, status, status=status, sentence=sentence)
