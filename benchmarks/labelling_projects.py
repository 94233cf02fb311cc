"""Projects to load: many pairs, people, and a server of them."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from heedful.labelling import accounts, items, projects, versions
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.questions import Questions
from heedful.labelling.settings import ProjectSettings
from heedful.types import Message


def pairs(number: int) -> list[NewItem]:
    """Items of two responses with texts of usual length."""
    rng = random.Random(0)
    words = ["river", "stone", "music", "garden", "letter", "window", "winter", "engine", "silver", "market"]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    return [
        NewItem(
            [Message("user", f"{text(20)}? {n}")],
            [NewResponse([Message("assistant", f"{text(60)} {side}")], f"model-{side}") for side in "ab"],
            f"item-{n}",
        )
        for n in range(number)
    ]


def timed(work_of: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its seconds."""
    began = time.perf_counter()
    return work_of(), time.perf_counter() - began


def set_up(db: Database, new_items: list[NewItem], overlap: int, people: int) -> tuple[list[Account], float]:
    """A project with people; the seconds that its import took."""
    with db.write() as connection:
        questions = Questions.model_validate({"preference": {"strength": 3}})
        versions.create_project(connection, "p", questions, settings=ProjectSettings(overlap=overlap))
    with db.write() as connection:
        _, seconds = timed(lambda: items.add_items(connection, "p", new_items))
        projects.set_state(connection, "p", "open")
        accounts_of = [accounts.add_user(connection, f"u{n}") for n in range(people)]
        for n in range(people):
            projects.set_member(connection, "p", f"u{n}")
    return [Account(key, f"u{n}", f"u{n}", "annotator") for n, key in enumerate(accounts_of)], seconds


def run(threads: list[threading.Thread]) -> None:
    """All at once, to the end."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(url: str, port: int) -> subprocess.Popen[str]:
    """A server that answers."""
    command = [sys.executable, "-m", "heedful", "label", "serve", "--db", url, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    first = server.stdout.readline()
    assert re.search("Labels in", first), first
    return server
