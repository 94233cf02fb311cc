"""Evaluation by shares of an epoch, by whoever hands in a judge, and the best from before the first step on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from heedful.training import train
from heedful.training.checkpoints import best_checkpoint
from heedful.training.metrics import peak_memory_bytes, reset_peak_memory
from heedful.types import RunError
from tests.training.small_runs import Fault, failing_at, rows, small_config

HELD_OUT: dict[str, Any] = {"eval_fraction": 0.25, "batch_size": 4, "checkpoint_every": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("validation")


class Judge:
    """Gives the next of some rewards at every evaluation, and notes what it was shown."""

    def __init__(self, *rewards: float) -> None:
        self.rewards, self.shown = list(rewards), []

    def __call__(self, model: torch.nn.Module, template: Any) -> Mapping[str, float]:
        self.shown.append((float(next(model.parameters()).detach().sum()), template.name))
        return {"reward": self.rewards.pop(0)}


def run(place: Path, out: str, judge: Judge | None, **settings: Any) -> tuple[Path, list[str]]:
    said: list[str] = []
    return train(small_config(place, "sft", out, **(HELD_OUT | settings)), validate=judge, echo=said.append), said


def evaluated(run: Path) -> list[tuple[int, float | None]]:
    return [(row["step"], row.get("eval/reward")) for row in rows(run) if "eval/loss" in row]


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        # 18 examples in steps of 4 are 4½ steps an epoch; 9 steps are two.  The last step is always evaluated.
        (0.5, [0, 3, 5, 7, 9]),  # the first steps after 2¼, 4½, 6¾, and 9 itself
        (0.25, [0, 2, 3, 4, 5, 6, 7, 8, 9]),  # after 1⅛, 2¼, 3⅜, 4½, 5⅝, 6¾, 7⅞, 9
        (4, [0, 4, 8, 9]),
        (None, [9]),
    ],
)
def test_evaluations_come_as_often_as_asked(place: Path, every: float | None, steps: list[int]) -> None:
    made, _ = run(place, f"every-{every}", None, eval_every=every, steps=9)
    assert [step for step, _ in evaluated(made)] == steps


def test_the_best_is_kept_from_the_first_model_on(place: Path) -> None:
    judge = Judge(0.5, 0.4, 0.7, 0.7, 0.6)
    made, said = run(place, "best", judge, eval_every=1, steps=4, keep=1, keep_best="max:eval/reward")
    assert evaluated(made) == [(0, 0.5), (1, 0.4), (2, 0.7), (3, 0.7), (4, 0.6)]
    assert best_checkpoint(made) == made / "checkpoints" / "step-2", "the first of equals"
    assert {path.name for path in (made / "checkpoints").iterdir()} == {"step-2", "step-4"}
    assert "best eval/reward: 0.7000 after step 2" in said[-2]
    assert len({weights for weights, _ in judge.shown}) == 5, "it is shown the model as it is"


def test_when_nothing_improves_the_first_model_is_the_best(place: Path) -> None:
    made, said = run(place, "worse", Judge(0.5, 0.5, 0.1), eval_every=1, steps=2, keep_best="max:eval/reward")
    assert best_checkpoint(made) == made / "checkpoints" / "step-0"
    assert "no step was better than the model it started from" in said[-2]


def test_a_reward_that_is_no_number_is_never_the_best(place: Path) -> None:
    made, _ = run(
        place, "nan", Judge(float("nan"), 0.1, float("nan")), eval_every=1, steps=2, keep_best="max:eval/reward"
    )
    assert best_checkpoint(made) == made / "checkpoints" / "step-1"


@pytest.mark.parametrize("broken_at", [0, 2])
def test_a_resumed_run_writes_the_same_metrics(place: Path, broken_at: int) -> None:
    settings: dict[str, Any] = {"eval_every": 1, "steps": 3, "keep_best": "max:eval/reward"}
    whole, _ = run(place, "whole", Judge(0.5, 0.4, 0.7, 0.6), **settings)
    out = f"broken-{broken_at}"
    with failing_at(broken_at), pytest.raises(Fault):
        run(place, out, Judge(*[0.5, 0.4, 0.7, 0.6][: broken_at + 1]), **settings)
    # What was judged before the last checkpoint is not judged again: the first model's is step 0.
    resumed, _ = run(place, out, Judge(*[0.5, 0.4, 0.7, 0.6][broken_at + 1 :]), **settings)
    assert rows(resumed) == rows(whole)
    ends = [json.loads((made / "checkpoints" / "step-3" / "trainer.json").read_text()) for made in (whole, resumed)]
    assert ends[0] == ends[1]


def test_a_metric_that_no_judge_gives_cannot_be_watched(place: Path) -> None:
    with pytest.raises(RunError, match="keep_best watches eval/reward, which evaluation does not give"):
        run(place, "unwatched", None, eval_every=1, steps=2, keep_best="max:eval/reward")


def test_a_number_of_steps_is_whole(place: Path) -> None:
    with pytest.raises(ValidationError, match="must be a share of an epoch below 1, or a whole number of steps"):
        small_config(place, "sft", "odd", **(HELD_OUT | {"eval_every": 2.5}))


def test_the_peak_of_an_earlier_run_is_forgotten() -> None:
    cpu = torch.device("cpu")
    much = torch.ones(40_000_000)
    high = peak_memory_bytes(cpu)
    del much
    assert peak_memory_bytes(cpu) == high
    reset_peak_memory(cpu)
    assert peak_memory_bytes(cpu) < high - 100_000_000
