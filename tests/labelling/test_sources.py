"""Strengths of the sources of responses."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.labelling.events import CLI
from heedful.labelling.projects import get_project
from heedful.labelling.slots import void_item
from heedful.labelling.sources import strengths
from tests.labelling.conftest import answered, better, make_project


def found(db):
    with db.read() as connection:
        return strengths(connection, get_project(connection, "p"))


def test_by_hand(db):
    # Three wins of `yes`, one loss, one tie: 3.5 to 1.5.  With two sources the penalised likelihood has its maximum at
    # the root of 3.5 - 5 σ(2s) = 0.1 s, s and -s being the strengths.
    make_project(db)
    answered(db, "ann", [better("r0"), better("r0"), better("r0"), better("r1"), better(None)])
    first, second = found(db)
    places = np.linspace(0, 2, 2_000_001)
    root = places[np.argmin(np.abs(3.5 - 5 / (1 + np.exp(-2 * places)) - 0.1 * places))]
    assert (first["source"], second["source"]) == ("model-yes", "model-no")
    assert first["strength"] == pytest.approx(root, abs=1e-4)
    assert first["strength"] == -second["strength"]
    assert first["low"] < 0 < first["high"]
    assert (first["games"], second["games"]) == (5, 5)


def test_void_items_do_not_count(sqlite):
    make_project(sqlite, 1)
    answered(sqlite, "ann", [better("r0")])
    assert len(found(sqlite)) == 2
    with sqlite.write() as connection:
        void_item(connection, 1, CLI)
    assert found(sqlite) == []
