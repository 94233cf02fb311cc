"""Our own Examples as items, and items as Examples: what people decided, and all that the data said besides.

Labels that fit an answer are a suggestion named `data`, and nobody's answer.  All labels stand in the meta of the item
and its responses, under `DATA`, and come back into the Example's own fields, save those that people give in this
project: what the data said of these is in `extra.labelling.data`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from heedful.labelling.consensus import Decided
from heedful.labelling.formats.training import about
from heedful.labelling.new_items import DATA, NewItem, NewResponse, messages_of
from heedful.labelling.questions import Questions
from heedful.types import Example, Message, Response, Span

Row = dict[str, Any]
BETWEEN = ("better", "safer", "strength", "margin", "source")
"""Fields of an Example that are kept as they are."""
OF_RESPONSE = ("reward", "cost", "desirable", "safe", "harm_categories", "severity", "rank", "weight")
ORDER = {"better", "rank", "desirable"}
"""Training takes one of these for another, so where people give one of them those of the data are kept aside."""
PEOPLES = {
    "preference": ORDER,
    "ranking": ORDER,
    "thumbs": ORDER,
    "safety": {"safe", "harm_categories", "severity", "safer"},
    "safer": {"safer"},
}
"""Question → the labels that people give who answer it."""


def from_example(example: Example) -> NewItem:
    """An Example as an item.  What its data says of the responses is a suggestion named `data`, and no answer."""
    responses = [NewResponse(list(r.messages), r.source, _meta(r.extra, _of_response(r))) for r in example.responses]
    suggestion = _suggested(example)
    return NewItem(
        list(example.prompt),
        responses,
        example.id,
        meta=_meta(example.extra, {**_present(example, BETWEEN), **_untrained(example.prompt)}),
        suggestions={"data": suggestion} if suggestion else {},
        origin=example.origin or "",
    )


def _meta(extra: Row, said: Row) -> Row:
    return {**extra, DATA: said} if said else dict(extra)


def _of_response(one: Response) -> Row:
    spans = {"spans": [asdict(span) for span in one.spans]} if one.spans else {}
    return {**_present(one, OF_RESPONSE), **spans, **_untrained(one.messages)}


def _present(labelled: Example | Response, names: tuple[str, ...]) -> Row:
    values = {name: getattr(labelled, name) for name in names}
    return {name: value for name, value in values.items() if value is not None and value != []}


def _untrained(turns: list[Message]) -> Row:
    """Which turns may not enter a loss; they are stored without saying so."""
    places = [place for place, turn in enumerate(turns) if not turn.trained]
    return {"untrained": places} if places else {}


def _suggested(example: Example) -> Row:
    said: Row = {}
    if example.better is not None:
        said["preference"] = {"winner": f"r{example.better}"}
    if example.safer is not None:
        said["safer"] = {"winner": f"r{example.safer}"}
    judged = {f"r{place}": one for place, one in enumerate(example.responses)}
    if judged and all(one.rank is not None for one in judged.values()):
        said["ranking"] = {"ranks": {key: one.rank for key, one in judged.items()}}
    if judged and all(one.desirable is not None for one in judged.values()):
        said["thumbs"] = {key: one.desirable for key, one in judged.items()}
    if judged and all(one.safe is not None for one in judged.values()):
        said["safety"] = {key: _safety(one) for key, one in judged.items()}
    return said


def _safety(one: Response) -> Row:
    known = {} if one.severity is None else {"severity": one.severity}
    return {"is_safe": one.safe, "harms": list(one.harm_categories), **known}


def to_example(one: Decided, questions: Questions) -> Example:
    """Everything that was decided, and of what the data said all that nobody is asked."""
    value, meta = one.value, dict(one.meta)
    peoples = {label for name in (*questions.asked(), *value, *one.undecided) for label in PEOPLES.get(name, ())}
    said: Row = meta.pop(DATA, {})
    preferred, safer = value.get("preference"), value.get("safer")
    better, strength = _index(preferred), None if preferred is None else preferred.get("strength")
    if "better" in peoples and (better != said.get("better") or strength is not None):
        peoples |= {"strength"}
    if "better" in peoples and better != said.get("better"):
        peoples |= {"margin"}
    labels = {"better": better, "safer": _index(safer), "strength": strength}
    labels |= {name: said[name] for name in BETWEEN if name in said and name not in peoples}
    left = {name: said[name] for name in BETWEEN if name in said and name in peoples}
    responses, of_responses = [], []
    for row in one.responses:
        response, more = _response(one, row, peoples)
        responses.append(response)
        of_responses.append(more)
    labelling = about(one, next(iter(value), "")) | {"decided": sorted(value)}
    if left or any(of_responses):
        labelling["data"] = {**left, "responses": of_responses} if any(of_responses) else left
    meta["labelling"] = labelling
    if preferred is not None and preferred["winner"] is None:
        meta["outcome"] = preferred.get("outcome", "tie")
    if one.context:
        meta["context"] = one.context
    return Example(_turns(one.prompt, said), responses, **labels, id=one.external_id, extra=meta)


def _response(one: Decided, row: Any, peoples: set[str]) -> tuple[Response, Row]:
    """The response, and what the data said of it that people decide."""
    extra = dict(row.meta or {})
    said: Row = extra.pop(DATA, {})
    judged = one.value.get("safety", {}).get(row.key, {})
    labels: Row = {
        "desirable": one.value.get("thumbs", {}).get(row.key),
        "safe": judged.get("is_safe"),
        "harm_categories": list(judged.get("harms", [])),
        "severity": judged.get("severity"),
        "rank": one.value.get("ranking", {}).get("ranks", {}).get(row.key),
    }
    labels |= {name: said[name] for name in OF_RESPONSE if name in said and name not in peoples}
    ratings = one.value.get("rating", {}).get(row.key)
    extra |= {"rating": ratings} if ratings else {}
    spans = [Span(**span) for span in said.get("spans", [])]
    response = Response(_turns(row.content, said), **labels, spans=spans, source=row.source, extra=extra)
    return response, {name: said[name] for name in OF_RESPONSE if name in said and name in peoples}


def _turns(stored: list[dict[str, str]], said: Row) -> list[Message]:
    turns = messages_of(stored)
    for place in said.get("untrained", []):
        if place < len(turns):
            turns[place].trained = False
    return turns


def _index(said: Row | None) -> int | None:
    return None if said is None or said["winner"] is None else int(said["winner"][1:])
