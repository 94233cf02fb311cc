"""Whatever the JSON interface is sent, it answers with a sentence and never with a crash."""

from __future__ import annotations

import pytest

from heedful.labelling import accounts
from heedful.labelling.database import Database
from heedful.labelling.limits import Bucket
from heedful.labelling.web.app import create_app
from tests.labelling.conftest import make_project, person
from tests.labelling.test_authorisation import API, LEAST

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value) -> bytes:
    return str(value).encode()


@pytest.mark.slow
def test_nothing_that_the_description_allows_breaks_the_server(tmp_path):
    db = Database(str(tmp_path / "labels.db"))
    make_project(db, 3)
    boss = person(db, "boss", "admin")
    with db.write() as connection:
        secret = accounts.make_token(connection, boss.id, "t", accounts.SCOPES, None, boss.actor)
    app = create_app(db)
    app.state.bucket = Bucket(burst=100_000)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(max_examples=8, deadline=None, database=None, derandomize=True)
        @hypothesis.given(case=operation.as_strategy())
        def send(case):
            answer = case.call(headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.content[:300])

        send()
        tried.add((operation.method, operation.path))
    assert tried == {(method.lower(), path) for method, path in LEAST if path.startswith(API)}
    db.close()
