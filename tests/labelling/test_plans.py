"""What the database does for each statement: by an index, and not by looking through everything there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from heedful.labelling import adjudicating, agreement_tables, gold, history, projects, quality, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.tables import item
from tests.labelling.conftest import better, make_project, pair, person

LARGE = {"item", "slot", "response", "annotation", "annotation_value"}
"""Tables that grow with the data and the answers."""
ONE_OF_PROJECT = {"slot", "response", "annotation", "annotation_value"}
"""Of these no work may read even those of one project; of items it reads gold and repetitions, by their kind."""


def labour(db: Database, ann: Account) -> None:
    """Everything that a labeller does, again and again."""
    given = ""
    for number in range(40):
        task = work.claim(db, ann, "p")
        assert task is not None
        lease = (task.slot, task.lease_token)
        work.save_draft(db, ann, *lease, better("r0"))
        work.heartbeat(db, ann, *lease)
        if number % 7 == 3:
            work.flag_task(db, ann, *lease, "other")
            work.skip_task(db, ann, *lease, "unclear")
        else:
            given = work.submit(db, ann, *lease, f"key {number}", better("r0")).annotation
    work.revise(db, ann, given, better("r1"), "again")
    with db.read() as connection:
        work.progress(connection, ann, "p")
        work.mine(connection, ann, "p")


def looking(db: Database, _: Account) -> None:
    """Everything that a manager looks at."""
    with db.read() as connection:
        found = projects.get_project(connection, "p")
        quality.overview(connection, found)
        quality.labellers(connection, found)
        quality.position_bias(connection, found)
        agreement_tables.agreement_in(connection, found)
        gold.by_item(connection, found, gold.answers(connection, found))
        adjudicating.queue(connection, found)
        adjudicating.queue_length(connection, found)
        adjudicating.open_flags(connection, found)
        name = connection.scalar(select(item.c.public_id).where(item.c.project_id == found.id).limit(1))
        history.history(connection, found, name)
        history.list_items(connection, found, "", "", 0)


@pytest.fixture
def ann(db) -> Account:
    """A labeller of a project with gold, repetitions and suggestions, of which somebody answered much before."""
    plain = [pair(number, suggestions={"m": better("r0")}) for number in range(300)]
    known = [pair(1000 + number, gold=better("r0")) for number in range(20)]
    settings = {"gold_rate": 0.3, "pause_below": 0.1, "repeat_rate": 0.3, "repeat_after": 2, "show_suggestions": True}
    make_project(db, new_items=[*plain, *known], overlap=3, **settings)
    bob = person(db, "bob", member="annotator")
    for number in range(100):
        task = work.claim(db, bob, "p")
        assert task is not None
        work.submit(db, bob, task.slot, task.lease_token, f"bob {number}", better("r0"))
    with db.engine.connect() as connection:
        if not db.is_sqlite:
            connection.exec_driver_sql("ANALYZE")
    return person(db, "ann", member="annotator")


def statements(db: Database, act: Callable[[], None]) -> dict[str, Any]:
    """What is asked of the database meanwhile, with one set of values each."""
    heard: dict[str, Any] = {}

    def hear(_connection, _cursor, statement, values, _context, many) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            heard.setdefault(statement, values[0] if many else values)

    event.listen(db.engine, "before_cursor_execute", hear)
    act()
    event.remove(db.engine, "before_cursor_execute", hear)
    return heard


def reads(db: Database, statement: str, values: Any) -> Iterator[tuple[str, str]]:
    """Each table that a statement reads, and by which condition of an index; none where it reads all of it."""
    with db.engine.connect() as connection:
        if db.is_sqlite:
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values):
                found = re.match(r"(SCAN|SEARCH) (\S+)(?:.*\((.*)\))?", row[3])
                if found:
                    yield found[2], found[3] or ""
            return
        for way in (
            "seqscan",
            "mergejoin",
            "hashjoin",
        ):  # so that an index is used where one can be
            connection.exec_driver_sql(f"SET enable_{way} = off")
        [[plan]] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).all()
        yield from _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], "")


def _nodes(node: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    relation = node.get("Relation Name", above)
    if node["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"):
        yield relation, node.get("Index Cond", "")
    for part in node.get("Plans", ()):
        yield from _nodes(part, relation)


@pytest.mark.parametrize("act", [labour, looking], ids=lambda act: act.__name__)
def test_no_statement_looks_through_a_whole_table(db, ann, act):
    heard = statements(db, lambda: act(db, ann))
    assert len(heard) > 15
    tables = set()
    for statement, values in heard.items():
        for table, condition in reads(db, statement, values):
            tables.add(table)
            assert condition or table not in LARGE, statement
    assert {"annotation", "slot", "item"} & tables


def test_work_does_not_even_look_through_its_project(db, ann):
    for statement, values in statements(db, lambda: labour(db, ann)).items():
        for table, condition in reads(db, statement, values):
            assert table not in ONE_OF_PROJECT or not re.fullmatch(r"\(?project_id ?= ?\S+?\)?", condition), statement


def test_a_statement_without_an_index_would_be_seen(db, ann):
    """The test of the test: no index knows when an item was made."""
    asked = "SELECT id FROM item WHERE created_at > 0"
    assert dict(reads(db, asked, ())) == {"item": ""}
