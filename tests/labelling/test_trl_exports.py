"""TRL trains a step on each training export, as it is written."""

from __future__ import annotations

import math

import pytest

from heedful.labelling import work
from heedful.labelling.exporting import Asked, export
from heedful.labelling.formats.training import Shape
from tests.end_to_end.test_trl import place, trl_loss  # noqa: F401  (a fixture)
from tests.labelling.conftest import make_project, person

pytestmark = pytest.mark.slow
pytest.importorskip("trl")


@pytest.mark.parametrize(
    ("objective", "form", "style"),
    [
        ("reward", "trl", "explicit"),
        ("reward", "trl", "implicit"),
        ("reward", "trl", "standard"),
        ("dpo", "trl", "explicit"),
        ("kto", "kto", "explicit"),
    ],
)
def test_trl_trains_on_what_labels_give(place, sqlite, objective, form, style):  # noqa: F811
    make_project(sqlite, 8, questions={"preference": {"strength": 3}, "thumbs": {}})
    ann = person(sqlite, "ann", member="annotator")
    while (task := work.claim(sqlite, ann, "p")) is not None:
        said = {"preference": {"winner": "r0", "strength": 3}, "thumbs": {"r0": True, "r1": False}}
        work.submit(sqlite, ann, task.slot, task.lease_token, task.slot, said)
    with sqlite.read() as connection:
        done = export(connection, "p", Asked(form, shape=Shape(style=style)))
    name = f"labels-{objective}-{style}.jsonl"
    (place / name).write_bytes(b"".join(done.lines))
    loss = trl_loss(place, objective, name)
    assert math.isfinite(loss)
    if objective == "dpo":
        assert loss != pytest.approx(math.log(2), abs=1e-6)  # the reference is another model
