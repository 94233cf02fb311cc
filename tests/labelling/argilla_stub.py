"""A server that speaks as much of Argilla's interface as its SDK needs for data sets, and is as strict with records."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request

Row = dict[str, Any]
NOW = "2026-01-01T00:00:00"


class Stub:
    """Its state.  users: name → id; `key` is the first one's, who is an owner if told, and sees the others."""

    def __init__(self, users: list[str], *, owner: bool = True) -> None:
        self.users = {name: str(uuid4()) for name in users}
        self.owner, self.key = owner, "secret-key"
        self.workspaces = {name: str(uuid4()) for name in ("team", "other")}
        self.datasets: dict[str, Row] = {}
        self.url = ""

    def user(self, name: str) -> Row:
        return {"id": self.users[name], "username": name, "role": "owner", "first_name": name, **dated()}

    def add(self, name: str, fields: list[Row], questions: list[Row], records: list[Row]) -> Row:
        """A data set that is there already."""
        made = self.new({"name": name, "workspace_id": self.workspaces["team"]}) | {"status": "ready"}
        self.datasets[made["id"]] = made
        made["fields"] = [{"id": str(uuid4()), "dataset_id": made["id"], "required": True, **one} for one in fields]
        made["questions"] = [{"id": str(uuid4()), "dataset_id": made["id"], "required": True, **q} for q in questions]
        made["records"] = [{"id": str(uuid4()), "metadata": {}, "suggestions": [], **one} for one in records]
        return made

    def new(self, body: Row) -> Row:
        lists: Row = {"fields": [], "questions": [], "records": []}
        return {
            "guidelines": None,
            "allow_extra_metadata": True,
            **body,
            "id": str(uuid4()),
            "status": "draft",
            **lists,
        }


def dated() -> Row:
    return {"inserted_at": NOW, "updated_at": NOW}


def shown(dataset: Row) -> Row:
    return {k: v for k, v in dataset.items() if k not in ("fields", "questions", "records")} | dated()


def check_record(dataset: Row, users: set[str], record: Row) -> None:
    """What the real server answers 422 to."""

    def refuse(why: str) -> None:
        raise HTTPException(422, why)

    kinds = {one["name"]: one for one in dataset["fields"]}
    for name, value in record["fields"].items():
        if name not in kinds:
            refuse(f"no field {name}")
        wanted = list if kinds[name]["settings"]["type"] == "chat" else str
        if not isinstance(value, wanted):
            refuse(f"field {name} must be {wanted.__name__}")
    missing = [name for name, one in kinds.items() if one["required"] and name not in record["fields"]]
    if missing:
        refuse(f"missing required value for field {missing[0]}")
    questions = {one["name"]: one for one in dataset["questions"]}
    for response in record["responses"]:
        if response["user_id"] not in users:
            refuse("unknown user")
        for name, said in response["values"].items():
            settings = questions[name]["settings"]
            options = {str(one["value"]) for one in settings.get("options", [])}
            value = said["value"]
            if settings["type"] == "ranking":
                given = [one["value"] for one in value]
                if set(given) != options or not all(one["rank"] >= 1 for one in value):
                    refuse(f"{name}: not a ranking of all")
            elif settings["type"] == "multi_label_selection":
                if not set(value) <= options:
                    refuse(f"{name}: unknown label")
            elif settings["type"] != "text" and str(value) not in options:
                refuse(f"{name}: {value!r} is no option")
        if response["status"] == "submitted":
            left = [n for n, q in questions.items() if q["required"] and n not in response["values"]]
            if left:
                refuse(f"missing response value for required question {left[0]}")


def application(stub: Stub) -> FastAPI:
    def known(request: Request) -> None:
        if request.headers.get("x-argilla-api-key") != stub.key:
            raise HTTPException(401, {"code": "argilla.api.errors::UnauthorizedError", "params": {}})

    app = FastAPI(dependencies=[Depends(known)])
    root = "/api/v1"

    def dataset(key: str) -> Row:
        if key not in stub.datasets:
            raise HTTPException(404, "no such data set")
        return stub.datasets[key]

    @app.get(f"{root}/me")
    def me() -> Row:
        return stub.user(next(iter(stub.users)))

    @app.get(f"{root}/users")
    def users() -> Row:
        if not stub.owner:
            raise HTTPException(403, "owners only")
        return {"items": [stub.user(name) for name in stub.users]}

    @app.get(f"{root}/me/workspaces")
    def workspaces() -> Row:
        return {"items": [{"id": key, "name": name, **dated()} for name, key in stub.workspaces.items()]}

    @app.get(f"{root}/workspaces/{{key}}")
    def workspace(key: str) -> Row:
        [name] = [name for name, there in stub.workspaces.items() if there == key]
        return {"id": key, "name": name, **dated()}

    @app.get(f"{root}/me/datasets")
    def datasets() -> Row:
        return {"items": [shown(one) for one in stub.datasets.values()]}

    @app.post(f"{root}/datasets", status_code=201)
    async def create(request: Request) -> Row:
        made = stub.new(await request.json())
        stub.datasets[made["id"]] = made
        return shown(made)

    @app.get(f"{root}/datasets/{{key}}")
    def one(key: str) -> Row:
        return shown(dataset(key))

    @app.patch(f"{root}/datasets/{{key}}")
    async def change(key: str, request: Request) -> Row:
        told = await request.json()
        dataset(key).update({name: told[name] for name in ("guidelines", "allow_extra_metadata") if name in told})
        return shown(dataset(key))

    @app.delete(f"{root}/datasets/{{key}}")
    def delete(key: str) -> Row:
        return shown(stub.datasets.pop(key))

    @app.put(f"{root}/datasets/{{key}}/publish")
    def publish(key: str) -> Row:
        dataset(key)["status"] = "ready"
        return shown(dataset(key))

    @app.get(f"{root}/datasets/{{key}}/vectors-settings")
    def vectors(key: str) -> Row:
        return {"items": []}

    @app.get(f"{root}/me/datasets/{{key}}/metadata-properties")
    def metadata(key: str) -> Row:
        return {"items": []}

    @app.get(f"{root}/datasets/{{key}}/records")
    def records(key: str, offset: int = 0, limit: int = 50, include: list[str] = Query(default=[])) -> Row:
        rows = dataset(key)["records"][offset : offset + limit]
        return {"items": [{**row, "responses": row["responses"] if "responses" in include else None} for row in rows]}

    @app.put(f"{root}/datasets/{{key}}/records/bulk")
    async def upsert(key: str, request: Request) -> Row:
        items = (await request.json())["items"]
        for item in items:
            check_record(dataset(key), set(stub.users.values()), item)
        rows = [{**item, "id": str(uuid4())} for item in items]
        dataset(key)["records"] += rows
        return {"items": rows, "updated_item_ids": []}

    @app.get(f"{root}/datasets/{{key}}/{{part}}")
    def parts(key: str, part: str) -> Row:
        return {"items": dataset(key)[part]}

    @app.post(f"{root}/datasets/{{key}}/{{part}}", status_code=201)
    async def add_part(key: str, part: str, request: Request) -> Row:
        made = {**await request.json(), "id": str(uuid4()), "dataset_id": key}
        dataset(key)[part].append(made)
        return made

    return app


@contextmanager
def running(stub: Stub, port: int) -> Iterator[str]:
    """Its address."""
    server = uvicorn.Server(uvicorn.Config(application(stub), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    stub.url = f"http://127.0.0.1:{port}"
    yield stub.url
    server.should_exit = True
    thread.join(timeout=10)
