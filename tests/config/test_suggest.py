"""The nearest right name."""

import pytest

from heedful.config import TrainConfig, did_you_mean, suggest
from heedful.config.suggest import OTHER_TOOLS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("batchsize", "batch_size"),
        ("Batch-Size", "batch_size"),
        ("epoch", "epochs"),
        ("learning_rate", "lr"),
        ("xyz", None),
    ],
)
def test_nearest(typed: str, meant: str | None) -> None:
    assert suggest(typed, TrainConfig.model_fields) == ([meant] if meant else [])


def test_other_trainers_names_point_at_settings_that_exist() -> None:
    known = {*TrainConfig.model_fields, "lora.r", "lora.alpha", "lora.targets"}
    assert set(OTHER_TOOLS.values()) <= known


def test_nothing_near_says_nothing() -> None:
    assert did_you_mean("qqq", ["lr"]) == ""
