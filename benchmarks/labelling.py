"""`python -m benchmarks.labelling`: the labelling application under load and kills; writes results/labelling.json.

Load: 100,000 items with 1,000,000 answers on SQLite; import, export, statistics; claims and submissions by 20 labellers
who think in between.  Crowd: 50 workers who do not think.  Kills: a server is killed again and again while 8 programs
submit; what was acknowledged must be there, once.  Both on SQLite and, with --postgresql URL URL, on PostgreSQL.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import insert, select, update

from benchmarks.labelling_pages import pages
from benchmarks.labelling_projects import pairs, run, set_up, timed
from benchmarks.labelling_safety import crowd, kills
from benchmarks.machine import machine
from heedful.labelling import agreement_tables, quality, work
from heedful.labelling.accounts import Account
from heedful.labelling.consensus import decide, gather
from heedful.labelling.database import Database
from heedful.labelling.exporting import Asked, export
from heedful.labelling.projects import get_project
from heedful.labelling.tables import annotation, annotation_value, item, membership, slot
from heedful.labelling.values import flat_rows

RESULT = Path(__file__).resolve().parent / "results" / "labelling.json"
ANSWERED, OVERLAP = 10, 12
USUAL = 3
"""Answers wanted of an item in most projects."""
CHUNK = 10_000
PASSES = 5


def main() -> int:
    """Run all parts and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelling", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of work under think time")
    parser.add_argument("--kills", type=int, default=20)
    two = {"nargs": 2, "metavar": "URL", "default": (None, None)}
    parser.add_argument("--postgresql", **two, help="two empty databases, for the crowd and for the kills")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heedful-labels-") as folder:
        place = Path(folder)
        found: dict[str, Any] = {"load": load(place / "load.db", arguments.items, arguments.seconds)}
        say("load", found["load"])
        for name, url, other in (
            ("SQLite", place / "crowd.db", place / "kills.db"),
            ("PostgreSQL", *arguments.postgresql),
        ):
            if url is not None:
                found[f"crowd, {name}"] = crowd(str(url))
                say(f"crowd, {name}", found[f"crowd, {name}"])
                found[f"kills, {name}"] = kills(str(other), arguments.kills)
                say(f"kills, {name}", found[f"kills, {name}"])
    result = {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(2), **found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RESULT}")
    return 0


def say(name: str, found: dict[str, Any]) -> None:
    """One part's figures."""
    print(f"{name}: {json.dumps(found)}", flush=True)


def load(path: Path, num_items: int, seconds: float) -> dict[str, Any]:
    """A large project: how long everything takes."""
    usual = Database(str(path.with_name("usual.db")))
    _, usual_s = set_up(usual, pairs(num_items), USUAL, 1)
    usual.close()
    db = Database(str(path))
    people, import_s = set_up(db, pairs(num_items), OVERLAP, 40)
    answered = fill(db, people)
    with db.read() as connection:
        found = get_project(connection, "p")
        exports = [timed(lambda: len(export(connection, "p", Asked("trl")).lines)) for _ in range(PASSES)]
        rates = [round(rows / export_s) for rows, export_s in exports]
        everything, native_s = timed(lambda: len(export(connection, "p", Asked("native")).lines))
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
    shown = pages(path, people[0])
    return {
        "items": num_items,
        "answers": answered,
        "import_items_per_s": {
            f"overlap {USUAL}": round(num_items / usual_s),
            f"overlap {OVERLAP}": round(num_items / import_s),
        },
        "export_rows_per_s": {"median": median(rates), "passes": rates},
        "exported_rows": exports[0][0],
        "native_rows_per_s": round(everything / native_s),
        "native_rows": everything,
        "gather_and_decide_s": round(gather_s, 2),
        "statistics_s": round(stats_s, 2),
        "database_mb": round(size / 2**20),
        **waits,
        "pages": shown,
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


if __name__ == "__main__":
    sys.exit(main())
