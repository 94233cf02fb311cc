"""The audit trail notices what was changed."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from heedful.labelling.events import verify
from heedful.labelling.tables import event
from tests.labelling.conftest import make_project, person


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (update(event).where(event.c.id == 3).values(verb="nothing"), "event 3 was changed"),
        (update(event).where(event.c.id == 3).values(at=1.0), "event 3 was changed"),
        (delete(event).where(event.c.id == 2), "event 2 is missing"),
        (delete(event).where(event.c.id >= 4), "events after 3 are missing"),
    ],
)
def test_what_was_changed(db, harm, fault):
    make_project(db)
    person(db, "ann", member="annotator")
    with db.read() as connection:
        assert verify(connection)[1] is None
    with db.write() as connection:
        connection.execute(harm)
    with db.read() as connection:
        assert fault in str(verify(connection)[1])
