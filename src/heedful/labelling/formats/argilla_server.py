"""A running Argilla server: data sets pulled from it and pushed to it by Argilla's own SDK, the extra `argilla`.

Ranks go both ways as the server holds them, ties and all; the SDK's own export makes a list of them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from heedful.labelling.accounts import username_of
from heedful.labelling.consensus import Decided
from heedful.labelling.formats import argilla as records
from heedful.labelling.projects import Project
from heedful.types import UserError

Row = dict[str, Any]
PAGE = 100
BULK = 500
"""Most records of one request that the server takes."""


@dataclass
class Pushed:
    """records, answers: that the server has now.  strangers: labellers without an account there, and their answers."""

    records: int
    answers: int
    strangers: dict[str, int]


def connect(url: str | None = None) -> Any:
    """The SDK's client.  url: of the server; ARGILLA_API_URL without.  The key is in ARGILLA_API_KEY.

    Raises UserError without address, key or SDK, and where nobody answers or the key is not known.
    """
    url, key = url or os.environ.get("ARGILLA_API_URL"), os.environ.get("ARGILLA_API_KEY")
    if not url or not key:
        missing = "its address by --url or in ARGILLA_API_URL" if not url else "your API key in ARGILLA_API_KEY"
        raise UserError(f"an Argilla server is reached with an address and a key; give {missing}.")
    try:
        import argilla
    except ImportError:
        raise UserError("Argilla's servers need its SDK: pip install 'heedful[argilla]'") from None
    with _asking(url):
        return argilla.Argilla(api_url=url, api_key=key)


def pull(client: Any, name: str, workspace: str | None = None) -> Iterator[tuple[str, Row]]:
    """The records of a data set with all answers, as `argilla.item_of` takes them.

    Raises UserError for a data set that is not there.
    """
    with _asking(client.api_url):
        found = client.datasets(name, workspace=workspace)
        if found is None:
            names = sorted({one.name for one in client.datasets})
            there = f"it has {', '.join(names)}" if names else "it has none that you may see"
            raise UserError(f"{client.api_url} has no data set {name!r}{_in(workspace)}; {there}.")
        people = _people(client)
        names = {str(one.id): one.name for one in found.settings.questions}
        place = 0
        while page := client.api.records.list(found.id, offset=place, limit=PAGE, with_vectors=False):
            for record in page:
                yield f"{name}: record {record.external_id}", _plain(record, people, names)
            place += len(page)


def push(client: Any, project: Project, items: Sequence[Decided], name: str, workspace: str | None = None) -> Pushed:
    """A new data set on the server: guidelines, questions, items, suggestions, answers and skips of who has an account.

    Raises UserError for a name that is taken, and for a workspace that is not there.
    """
    import argilla

    with _asking(client.api_url):
        space = client.workspaces(workspace) if workspace is not None else client.workspaces.default
        if space is None:
            raise UserError(f"{client.api_url} has no workspace {workspace!r} that you may see.")
        if client.datasets(name, workspace=space) is not None:
            raise UserError(f"{client.api_url} has a data set {name!r}{_in(space.name)} already; give another name.")
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "settings.json"
            written.write_text(json.dumps(records.settings(project, items)), encoding="utf-8")
            settings = argilla.Settings.from_json(written)
        dataset = argilla.Dataset(name, workspace=space, settings=settings, client=client).create()
        ids = {username_of(name): UUID(key) for key, name in _people(client).items()}
        done = Pushed(0, 0, {})
        rows = records.rows(project, items)
        for start in range(0, len(rows), BULK):
            block = [_model(row, dataset, ids, done) for row in rows[start : start + BULK]]
            client.api.records.bulk_upsert(dataset_id=dataset.id, records=block)
            done.records += len(block)
    return done


def _model(row: Row, dataset: Any, ids: Mapping[str, UUID], done: Pushed) -> Any:
    """A record as the server takes it; counts whose answers go along."""
    import argilla
    from argilla._models import ResponseStatus, UserResponseModel

    responses, ranked, discarded = [], dict[UUID, list[Row]](), list[UUID]()
    known: set[str] = set()
    strangers: set[str] = set()
    for question, given in row["responses"].items():
        for one in given:
            who = one["user_id"]
            if one.get("status") == "discarded":
                discarded += [ids[who]] if who in ids else []
                continue
            if who not in ids:
                strangers.add(who)
                continue
            known.add(who)
            value = one["value"]
            if question == "ranking":
                ranked[ids[who]] = value
                value = [place["value"] for place in value]
            responses.append(argilla.Response(question, value, ids[who], status="submitted"))
    parts = {name: row[name] for name in ("id", "fields", "metadata")}
    suggestions = [argilla.Suggestion(question, **_unranked(one)) for question, one in row["suggestions"].items()]
    record = argilla.Record(**parts, responses=responses, suggestions=suggestions, _dataset=dataset)
    model: Any = record.api_model()
    for response in model.responses:
        if response.user_id in ranked:
            response.values["ranking"]["value"] = ranked[response.user_id]
    for suggestion in model.suggestions:
        if suggestion.question_name == "ranking":
            suggestion.value = row["suggestions"]["ranking"]["value"]
    thrown = ResponseStatus.discarded
    model.responses += [UserResponseModel(values={}, status=thrown, user_id=who) for who in discarded]
    done.answers += len(known)
    for who in strangers:
        done.strangers[who] = done.strangers.get(who, 0) + 1
    return model


def _unranked(one: Row) -> Row:
    """A suggestion as the SDK takes it: a ranking as a list of names."""
    value = one["value"]
    is_ranking = isinstance(value, list) and all(isinstance(place, Mapping) for place in value)
    return {**one, "value": [place["value"] for place in value] if is_ranking else value}


def _plain(record: Any, people: Mapping[str, str], questions: Mapping[str, str]) -> Row:
    """A record of the server in the form that its SDK writes, but with ranks.  questions: id → name."""
    row = record.model_dump(mode="json")
    responses: dict[str, list[Row]] = {}
    for response in row["responses"]:
        who = people.get(response["user_id"], response["user_id"])
        for question, said in (response["values"] or {}).items():
            one = {"value": said["value"], "user_id": who, "status": response["status"]}
            responses.setdefault(question, []).append(one)
        if not response["values"] and response["status"] == "discarded":
            responses.setdefault("", []).append({"value": None, "user_id": who, "status": "discarded"})
    return {
        "id": row["external_id"],
        "fields": {name: value for name, value in row["fields"].items() if value is not None},
        "metadata": row["metadata"] or {},
        "responses": responses,
        "suggestions": {
            questions[one["question_id"]]: {name: one[name] for name in ("value", "score", "agent")}
            for one in row["suggestions"]
            if one["question_id"] in questions
        },
    }


def _people(client: Any) -> dict[str, str]:
    """Id → user name, of everybody whom the key may see: owners see all, others themselves."""
    from argilla._exceptions import ForbiddenError

    try:
        people = list(client.users)
    except ForbiddenError:
        people = [client.me]
    return {str(one.id): one.username for one in people}


def _in(workspace: str | None) -> str:
    return "" if workspace is None else f" in the workspace {workspace!r}"


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """What the server refuses, and its silence, in one sentence."""
    import httpx
    from argilla._exceptions import ArgillaError, SettingsError

    try:
        yield
    except httpx.HTTPError as problem:
        raise UserError(f"no Argilla server answers at {url} ({problem}).") from None
    except ArgillaError as problem:
        said = problem.__cause__ if isinstance(problem, SettingsError) and problem.__cause__ else problem
        sentence = re.sub(r"^(Argilla SDK error: )?(\w+Error: )?", "", str(said).split("\n")[0])
        raise UserError(f"{url} refused: {sentence or type(said).__name__}") from None
