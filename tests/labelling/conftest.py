"""Databases, projects and people for the labelling tests; PostgreSQL where Debian's is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heedful.labelling import accounts, items, projects, versions, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.questions import Questions
from heedful.labelling.settings import ProjectSettings
from heedful.types import Message


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[str]:
    """The URL of a PostgreSQL server of this session's own, without a database's name."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        for parent in [folder, *folder.parents][:4]:
            parent.chmod(parent.stat().st_mode | 0o055)
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run: Any = {"check": True, "capture_output": True, "cwd": "/"}
    subprocess.run([*as_user, binaries[-1] / "initdb", "-D", folder / "data", "-U", "heed", "-A", "trust"], **run)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=on"
    control = [*as_user, binaries[-1] / "pg_ctl", "-D", folder / "data", "-w"]
    subprocess.run(
        [*control, "-l", folder / "log", "-o", options, "start"], check=True, cwd="/", stdout=subprocess.DEVNULL
    )
    try:
        yield f"postgresql://heed@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd="/", stdout=subprocess.DEVNULL, check=False)


_number = 0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "labels.db")
    return new_database(request.getfixturevalue("postgres"))


def new_database(server: str) -> str:
    """A fresh database on a server."""
    global _number
    import psycopg

    _number += 1
    name = f"test_{os.getpid()}_{_number}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture
def db(url) -> Iterator[Database]:
    """A database of each kind, open."""
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path) -> Iterator[Database]:
    """An SQLite database, for what does not depend on the kind."""
    database = Database(str(tmp_path / "labels.db"))
    yield database
    database.close()


def person(db: Database, name: str, role: str = "annotator", *, member: str | None = None, slug: str = "p") -> Account:
    """An account, a member of the project if asked."""
    with db.write() as connection:
        user_id = accounts.add_user(connection, name, role=role)
        if member is not None:
            projects.set_member(connection, slug, name, role=member)
    return Account(user_id, name, name, role)


def pair(number: int, **more: Any) -> NewItem:
    """An item of two responses."""
    prompt = [Message("user", f"Question {number}?")]
    responses = [NewResponse([Message("assistant", f"{name} {number}")], f"model-{name}") for name in ("yes", "no")]
    return NewItem(prompt, responses, f"i{number}", **more)


def make_project(
    db: Database,
    num_items: int = 5,
    *,
    questions: dict[str, Any] | None = None,
    new_items: list[NewItem] | None = None,
    slug: str = "p",
    state: str = "open",
    **settings: Any,
) -> projects.Project:
    """A project with items, open, that asks which response is better."""
    with db.write() as connection:
        asked = Questions.model_validate(questions or {"preference": {}})
        versions.create_project(connection, slug, asked, settings=ProjectSettings(**settings), guidelines="# Be fair")
        added = items.add_items(
            connection, slug, [pair(n) for n in range(num_items)] if new_items is None else new_items
        )
        assert not added.refused
        if state != "draft":
            projects.set_state(connection, slug, state)
        return projects.get_project(connection, slug)


def answered(db: Database, name: str, values: list[dict | None], slug: str = "p") -> None:
    """Somebody answers the first items in order; None skips one."""
    who = person(db, name, member="annotator", slug=slug)
    for number, value in enumerate(values):
        task = work.claim(db, who, slug)
        assert task is not None
        if value is None:
            work.skip_task(db, who, task.slot, task.lease_token, "unclear")
        else:
            work.submit(db, who, task.slot, task.lease_token, f"{name}-{slug}-{number}", value)


def better(winner: str | None, **more) -> dict:
    return {"preference": {"winner": winner, **({} if winner else {"outcome": "tie"}), **more}}
