"""Pages on which those who run a project look at its items, and at what was said of each."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from heedful.labelling import history, slots
from heedful.labelling.tables import ITEM_STATES
from heedful.labelling.web.callers import DB, item_of, of_project
from heedful.labelling.web.forms import whole
from heedful.labelling.web.showing import Sender, Viewer, back, show
from heedful.labelling.web.words import in_words
from heedful.labelling.work import Refused

router = APIRouter(include_in_schema=False)


@router.get("/p/{slug}/items")
def items_page(
    request: Request, slug: str, db: DB, account: Viewer, state: str = "", text: str = "", page: str = "0"
) -> Response:
    """All items, or those of a state or name."""
    found = of_project(db, account, slug, "manage")
    number = min(whole(page) or 0, 1_000_000)
    with db.read() as connection:
        rows, total = history.list_items(connection, found, state if state in ITEM_STATES else "", text, number)
    chosen = {"state": state, "text": text, "page": number, "last": max(0, (total - 1) // history.PAGE)}
    return show(request, "items.html", account, project=found, rows=rows, total=total, states=ITEM_STATES, **chosen)


@router.get("/p/{slug}/items/{public_id}")
def item_page(request: Request, slug: str, public_id: str, db: DB, account: Viewer) -> Response:
    """One item with every answer and every change of it."""
    found = of_project(db, account, slug, "manage")
    with db.read() as connection:
        one = history.history(connection, found, public_id)
    if one is None:
        raise Refused(404, "there is no such item")
    keys = [row.key for row in one.responses]

    def words(value: dict[str, Any]) -> str:
        return " · ".join(in_words(value, keys)) or "nothing"

    return show(request, "item.html", account, project=found, one=one, words=words)


@router.post("/p/{slug}/items/{public_id}/void")
def take_out(slug: str, public_id: str, db: DB, account: Sender) -> Response:
    """The item is given to nobody any more, and counted nowhere; what was said of it stays."""
    found = of_project(db, account, slug, "manage")
    with db.write() as connection:
        slots.void_item(connection, item_of(connection, found, public_id), account.actor)
    return back(f"/p/{slug}/items/{public_id}")
