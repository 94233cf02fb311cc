"""`python -m benchmarks.labelling`: the labelling application under load and kills; writes results/labelling.json.

Load: 100,000 items with 1,000,000 answers on SQLite; import, export, statistics; claims and submissions by 20 labellers
who think in between.  Crowd: 50 workers who do not think, on SQLite and, with --postgresql URL, on PostgreSQL.
Kills: a server is killed again and again while 8 programs submit; what was acknowledged must be there, once.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, insert, select, update

from benchmarks.machine import machine
from heedful.labelling import accounts, agreement_tables, items, projects, quality, work
from heedful.labelling.accounts import Account
from heedful.labelling.consensus import decide, gather
from heedful.labelling.database import Database
from heedful.labelling.events import verify
from heedful.labelling.exporting import Asked, export
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.projects import get_project
from heedful.labelling.questions import Questions
from heedful.labelling.settings import ProjectSettings
from heedful.labelling.tables import annotation, annotation_value, item, membership, slot
from heedful.labelling.values import flat_rows
from heedful.labelling.work import Refused
from heedful.types import Message

RESULT = Path(__file__).resolve().parent / "results" / "labelling.json"
ANSWERED, OVERLAP = 10, 12
CHUNK = 10_000


def main() -> int:
    """Run all parts and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelling", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of work under think time")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--postgresql", metavar="URL", help="an empty database, for the crowd")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heedful-labels-") as folder:
        place = Path(folder)
        found: dict[str, Any] = {"load": load(place / "load.db", arguments.items, arguments.seconds)}
        say("load", found["load"])
        found["crowd, SQLite"] = crowd(str(place / "crowd.db"))
        say("crowd, SQLite", found["crowd, SQLite"])
        if arguments.postgresql:
            found["crowd, PostgreSQL"] = crowd(arguments.postgresql)
            say("crowd, PostgreSQL", found["crowd, PostgreSQL"])
        found["kills"] = kills(place / "kills.db", arguments.kills)
        say("kills", found["kills"])
    result = {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(2), **found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RESULT}")
    return 0


def say(name: str, found: dict[str, Any]) -> None:
    """One part's figures."""
    print(f"{name}: {json.dumps(found)}", flush=True)


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
        projects.create_project(connection, "p", questions, settings=ProjectSettings(overlap=overlap))
    with db.write() as connection:
        _, seconds = timed(lambda: items.add_items(connection, "p", new_items))
        projects.set_state(connection, "p", "open")
        accounts_of = [accounts.add_user(connection, f"u{n}") for n in range(people)]
        for n in range(people):
            projects.set_member(connection, "p", f"u{n}")
    return [Account(key, f"u{n}", f"u{n}", "annotator") for n, key in enumerate(accounts_of)], seconds


def load(path: Path, num_items: int, seconds: float) -> dict[str, Any]:
    """A large project: how long everything takes."""
    db = Database(str(path))
    people, import_s = set_up(db, pairs(num_items), OVERLAP, 40)
    answered = fill(db, people)
    with db.read() as connection:
        found = get_project(connection, "p")
        rows, export_s = timed(lambda: len(export(connection, "p", Asked("trl")).rows))
        _, stats_s = timed(
            lambda: (
                quality.overview(connection, found),
                agreement_tables.agreement_in(connection, found),
                quality.labellers(connection, found),
            )
        )
        _, gather_s = timed(lambda: decide(connection, found, gather(connection, found)))
    waits = think_time(db, people[:20], seconds)
    db.close()
    size = path.stat().st_size
    return {
        "items": num_items,
        "answers": answered,
        "import_items_per_s": round(num_items / import_s),
        "export_rows_per_s": round(rows / export_s),
        "exported_rows": rows,
        "gather_and_decide_s": round(gather_s, 2),
        "statistics_s": round(stats_s, 2),
        "database_mb": round(size / 2**20),
        **waits,
    }


def fill(db: Database, people: list[Account]) -> int:
    """Answers to every item by ten people, straight into the tables; ranks of people rotate over the items."""
    rng = np.random.default_rng(0)
    order = ["r0", "r1"]
    done = Counter()
    with db.read() as connection:
        asked = select(slot.c.id, slot.c.item_id, slot.c.slot_no, item.c.position)
        slots = connection.execute(asked.join(item, item.c.id == slot.c.item_id).where(slot.c.slot_no < ANSWERED)).all()
        project_id = get_project(connection, "p").id
    number = 0
    for start in range(0, len(slots), CHUNK):
        answers, values, updates = [], [], []
        for row in slots[start : start + CHUNK]:
            number += 1
            # Twenty of the forty have answered each item of their half; the other half of the items is left to them.
            who = people[(row.position % 2) * 20 + (row.slot_no + row.position) % 20]
            done[who.id] += 1
            winner = "r0" if rng.random() < 0.8 else "r1"
            value = {"preference": {"winner": winner, "strength": int(rng.integers(1, 4))}}
            about = {"project_id": project_id, "item_id": row.item_id, "user_id": who.id}
            answers.append(
                {**about, "id": number, "public_id": f"a{number}", "slot_id": row.id, "revision": 0, "is_current": True}
                | {"value": value, "project_version": 1, "shown_order": order, "client_key": f"k{number}"}
                | {"active_ms": 4000, "wall_ms": 5000, "submitted_at": float(number), "suspect": []}
            )
            values += [{**about, "annotation_id": number, **flat} for flat in flat_rows(value)]
            updates.append((who.id, row.id))
        with db.write() as connection:
            connection.execute(insert(annotation), answers)
            connection.execute(insert(annotation_value), values)
            statement = 'UPDATE slot SET state=\'done\', user_id=?, "order"=\'["r0","r1"]\' WHERE id=?'
            connection.exec_driver_sql(statement, updates)
    with db.write() as connection:
        for user_id, count in done.items():
            connection.execute(update(membership).where(membership.c.user_id == user_id).values(num_done=count))
    return number


def think_time(db: Database, people: list[Account], seconds: float) -> dict[str, Any]:
    """Claims and submissions of people who think half a second to a second and a half in between."""
    claims: list[float] = []
    submissions: list[float] = []
    end = time.monotonic() + seconds

    def labeller(who: Account, seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() < end:
            began = time.perf_counter()
            task = work.claim(db, who, "p")
            claims.append(time.perf_counter() - began)
            time.sleep(draw.uniform(0.5, 1.5))
            if task is None:
                return
            value = {"preference": {"winner": "r0", "strength": 1}}
            began = time.perf_counter()
            work.submit(db, who, task.slot, task.lease_token, secrets.token_hex(8), value)
            submissions.append(time.perf_counter() - began)

    run([threading.Thread(target=labeller, args=(who, n)) for n, who in enumerate(people)])

    def quantiles(times: list[float]) -> dict[str, float]:
        return {name: round(1000 * float(np.quantile(times, q)), 1) for name, q in (("p50", 0.5), ("p99", 0.99))}

    return {
        "labellers": len(people),
        "submitted": len(submissions),
        "claim_ms": quantiles(claims),
        "submit_ms": quantiles(submissions),
    }


def run(threads: list[threading.Thread]) -> None:
    """All at once, to the end."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def crowd(url: str) -> dict[str, Any]:
    """50 workers of 25 people without think time: what was assigned too often, lost or doubled."""
    db = Database(url)
    num_items, overlap = 300, 3
    people, _ = set_up(db, pairs(num_items), overlap, 25)
    acknowledged: list[str] = []
    waits: list[float] = []

    def worker(who: Account) -> None:
        while True:
            began = time.perf_counter()
            task = work.claim(db, who, "p")
            if task is None:
                return
            try:
                value = {"preference": {"winner": "r0", "strength": 1}}
                done = work.submit(db, who, task.slot, task.lease_token, secrets.token_hex(8), value)
            except Refused:  # the same person's other worker was first
                continue
            acknowledged.append(done.annotation)
            waits.append(time.perf_counter() - began)

    _, took = timed(lambda: run([threading.Thread(target=worker, args=(people[n % 25],)) for n in range(50)]))
    found = audit(db, acknowledged, overlap)
    db.close()
    p99 = round(1000 * float(np.quantile(waits, 0.99)))
    return {"workers": 50, "answers_per_s": round(len(acknowledged) / took), "claim_and_submit_p99_ms": p99, **found}


def audit(db: Database, acknowledged: list[str], overlap: int) -> dict[str, Any]:
    """What a database holds against what it said it took."""
    with db.read() as connection:
        rows = connection.execute(select(annotation.c.item_id, annotation.c.user_id, annotation.c.public_id)).all()
        counted = connection.execute(select(func.sum(membership.c.num_done))).scalar_one()
        chain = verify(connection)[1]
    per_item = Counter(row.item_id for row in rows)
    twice = len(rows) - len({(row.item_id, row.user_id) for row in rows})
    stored = {row.public_id for row in rows}
    return {
        "acknowledged": len(set(acknowledged)),
        "stored": len(rows),
        "lost": len(set(acknowledged) - stored),
        "over_assigned": sum(count > overlap for count in per_item.values()),
        "same_person_twice": twice,
        "counted_wrong": int(counted) - len(rows),
        "audit": chain or "whole",
    }


def kills(path: Path, times: int) -> dict[str, Any]:
    """A server killed by SIGKILL while 8 programs submit over HTTP."""
    db = Database(str(path))
    people, _ = set_up(db, pairs(3000), 2, 8)
    with db.write() as connection:
        tokens = [accounts.make_token(connection, who.id, "load", ["label"], None, who.actor) for who in people]
    db.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    acknowledged: list[str] = []
    stop = threading.Event()
    resent = Counter()

    def program(token: str) -> None:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers={"authorization": f"Bearer {token}"})
        while not stop.is_set():
            try:
                got = client.post("/projects/p/claim", timeout=20)
                if got.status_code != 200:
                    time.sleep(0.05)
                    continue
                task, key = got.json(), secrets.token_hex(8)
                value = {"preference": {"winner": "r0", "strength": 1}}
                body = {"lease_token": task["lease_token"], "client_key": key, "value": value}
                while not stop.is_set():
                    try:
                        done = client.post(f"/slots/{task['slot']}/submit", json=body, timeout=20)
                    except httpx.HTTPError:
                        resent["tries"] += 1
                        time.sleep(0.1)
                        continue
                    if done.status_code in (200, 201):
                        acknowledged.append(done.json()["annotation"])
                        resent["same answer"] += done.status_code == 200
                    break
            except httpx.HTTPError:
                time.sleep(0.1)

    threads = [threading.Thread(target=program, args=(token,)) for token in tokens]
    server = serve(path, port)
    for thread in threads:
        thread.start()
    draw = random.Random(0)
    for _ in range(times):
        time.sleep(draw.uniform(1.0, 2.0))
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = serve(path, port)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    server.kill()
    server.wait()
    db = Database(str(path))
    found = audit(db, acknowledged, 2)
    with db.read() as connection:
        found["integrity"] = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    db.close()
    return {"kills": times, **found, "answers_sent_again_and_known": resent["same answer"]}


def serve(path: Path, port: int) -> subprocess.Popen[str]:
    """A server that answers."""
    command = [sys.executable, "-m", "heedful", "label", "serve", "--db", str(path), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    first = server.stdout.readline()
    assert re.search("Labels in", first), first
    return server


if __name__ == "__main__":
    sys.exit(main())
