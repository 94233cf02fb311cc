"""What may change when a run goes on."""

from __future__ import annotations

import pytest

from heedful.config import RESUMABLE, TrainConfig, resumed
from heedful.types import UserError


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate({"objective": {"name": "dpo", "beta": 0.1}, "model": "m", "data": "d", **changes})


def test_resumable_settings_are_settings() -> None:
    assert set(TrainConfig.model_fields) >= RESUMABLE


def test_what_may_change_is_taken_and_the_rest_kept() -> None:
    saved = config(threads=2, world_size=1, tokens_per_pack=4096)
    asked = config(keep=5, track="wandb", overwrite=True)
    went_on = resumed(saved, asked)
    assert (went_on.keep, went_on.track, went_on.threads, went_on.tokens_per_pack) == (5, "wandb", 2, 4096)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": 1.0}, "lr was 5e-06 and is now 1.0"),
        ({"objective": {"name": "dpo", "beta": 0.2}}, r"objective\.beta was 0\.1 and is now 0\.2"),
        ({"threads": 4}, "threads was 2 and is now 4"),
        ({"eval_fraction": 0.1}, "eval_fraction was null and is now 0.1"),
    ],
)
def test_anything_else_is_refused_by_name(changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resumed(config(threads=2), config(**{"threads": 2} | changes))
