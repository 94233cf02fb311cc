"""What is lost, doubled or given out too often: under a crowd that does not think, and under kills."""

from __future__ import annotations

import random
import secrets
import signal
import threading
import time
from collections import Counter
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select

from benchmarks.labelling_projects import free_port, pairs, run, serve, set_up, timed
from heedful.labelling import accounts, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.events import verify
from heedful.labelling.tables import annotation, membership
from heedful.labelling.work import Refused


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


def kills(url: str, times: int, programs: int = 8) -> dict[str, Any]:
    """A server killed by SIGKILL while programs submit over HTTP; each sends again until it hears that it is there.

    url: of an empty database of either kind.  It is our server that is killed, also where the database has one.
    """
    db = Database(url)
    people, _ = set_up(db, pairs(3000), 2, programs)
    with db.write() as connection:
        tokens = [accounts.make_token(connection, who.id, "load", ["label"], None, who.actor) for who in people]
    db.close()
    port = free_port()
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
    server = serve(url, port)
    for thread in threads:
        thread.start()
    draw = random.Random(0)
    for _ in range(times):
        until_ready(port)
        time.sleep(draw.uniform(1.0, 2.0))
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = serve(url, port)
    until_ready(port)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    server.kill()
    server.wait()
    db = Database(url)
    found = audit(db, acknowledged, 2)
    if db.is_sqlite:
        with db.read() as connection:
            found["integrity"] = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    db.close()
    return {"kills": times, **found, "answers_sent_again_and_known": resent["same answer"]}


def until_ready(port: int) -> None:
    """Return when the server answers, so that it is killed at work and not while it starts."""
    for _ in range(600):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=20).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"no server answers at port {port}")
