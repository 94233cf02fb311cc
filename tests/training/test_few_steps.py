"""A run that is over before it begins to learn says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.training import train
from tests.training.small_runs import Fault, failing_at, small_config


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 8, "epochs": 1.0}, ["note: the data make 3 steps of 8 "]),
        ({"batch_size": 1, "epochs": 2.0}, []),
        ({"batch_size": 8, "steps": 1}, []),
    ],
)
def test_few_steps_are_remarked_on_unless_they_were_asked_for(tmp_path: Path, settings: dict, said: list[str]) -> None:
    lines: list[str] = []
    train(small_config(tmp_path, "dpo", "run", **{"steps": None, **settings}), echo=lines.append)
    notes = [line for line in lines if line.startswith("note:")]
    assert len(notes) == len(said)
    assert all(note.startswith(start) for note, start in zip(notes, said, strict=True))


def test_a_run_that_goes_on_is_not_told_what_it_can_no_longer_change(tmp_path: Path) -> None:
    lines: list[str] = []
    settings = small_config(tmp_path, "dpo", "run", steps=None, batch_size=8, checkpoint_every=1)
    with failing_at(2), pytest.raises(Fault):
        train(settings, echo=lambda line: None)
    train(settings, echo=lines.append)
    assert (tmp_path / "run" / "final").exists()
    assert not [line for line in lines if line.startswith("note:")]
