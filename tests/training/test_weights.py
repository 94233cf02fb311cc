"""Weights of the data: what they come to in a run, and what they cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.training import train
from heedful.types import UserError
from tests.end_to_end.runs import write_pairs
from tests.training.small_runs import losses, small_config, small_run

STEADY: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "lr": 1e-12, "steps": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def weighted(place: Path, name: str, weights: list[Any]) -> dict[str, Any]:
    """Pairs, as many as weights, each with its own."""
    rows = [json.loads(line) for line in write_pairs(place / "all.jsonl").read_text().splitlines()]
    path = place / f"{name}.jsonl"
    kept = [{**row, "weight": weight} for row, weight in zip(rows, weights, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return {"data": str(path), **STEADY}


def test_a_weight_of_two_is_the_row_twice(place: Path) -> None:
    twice = weighted(place, "twice", [1, 2, 0, 1])
    rows = (place / "twice.jsonl").read_text().splitlines()
    copied = place / "copied.jsonl"
    copied.write_text("\n".join(json.dumps({**json.loads(rows[i]), "weight": 1}) for i in (0, 1, 1, 3)) + "\n")
    for objective in ("simpo", "kto_zero", "sft"):
        by_weight = losses(small_run(place, objective, f"{objective}-weight", **twice))
        by_copies = losses(small_run(place, objective, f"{objective}-copies", **{**twice, "data": str(copied)}))
        assert by_weight == pytest.approx(by_copies, rel=1e-5)


def test_weights_of_nothing_but_0_are_refused(place: Path) -> None:
    with pytest.raises(UserError, match="every weight of the data is 0"):
        small_run(place, "simpo", "none", **weighted(place, "none", [0, 0, 0, 0]))


def test_a_weight_below_nothing_is_refused(place: Path) -> None:
    with pytest.raises(UserError, match=r"a weight of -1.0 \(.*:2\) is no weight: give 0 or more"):
        small_run(place, "dpo", "refused", **weighted(place, "wrong", [1, -1, 1, 1]))
    assert not (place / "refused").exists()


def test_a_pair_of_two_weights_is_told(place: Path) -> None:
    def response(text: str, weight: float) -> dict[str, Any]:
        return {"messages": [{"role": "assistant", "content": text}], "weight": weight}

    rows = [
        {
            "prompt": [{"role": "user", "content": f"Say {i}."}],
            "responses": [response("yes", 2.0), response("no", 2.0 + (i == 1))],
            "better": 0,
        }
        for i in range(3)
    ]
    path = place / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said: list[str] = []
    settings = {**STEADY, "batch_size": 3, "data": str(path)}
    train(small_config(place, "dpo", "differing", **settings), echo=said.append)
    assert "weights: the two of a pair differ in 1 of 3; the chosen's counts" in said


def test_an_objective_without_a_value_for_each_takes_none(place: Path) -> None:
    settings = weighted(place, "some", [1, 2, 1, 1])
    with pytest.raises(UserError, match="the data has weights, which cannot act on aot_unpaired: its term 'loss' does"):
        small_run(place, "aot_unpaired", "refused", **settings)
    assert not (place / "refused").exists()
