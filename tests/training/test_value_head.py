"""A value head learns beside the policy: its own optimizer and clipping, neither moves the other, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from heedful.models.heads import new_value_head
from heedful.objectives import bind
from heedful.objectives.reduce import Objective, Term
from heedful.objectives.trial import trainees_of
from heedful.objectives.views import Singles
from heedful.training.metrics import read_metrics
from heedful.training.step import StepRunner
from heedful.training.world import World
from heedful.types import UserError
from tests.end_to_end.runs import assert_same_bits
from tests.training.helpers import random_store, small_model, source_of
from tests.training.small_runs import broken_run, small_config, small_run

ALONE = World(0, 1, torch.device("cpu"), "single")
STEADY: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "max_grad_norm": None}


def actor_critic(singles: Singles, *, actor: float = 1.0, critic: float = 1.0):
    """Terms whose sizes can be set apart."""
    advantage = singles.reward - singles.sum(singles.values.detach())
    return {
        "actor": Term(-actor * advantage * singles.mean_logps),
        "critic": Term(critic * (singles.values - 1.0) ** 2, over="tokens", trainee="value_head"),
    }


def model_with_head() -> Any:
    model = small_model().double()
    torch.manual_seed(1)
    model.value_head = new_value_head(32).double()
    return model


def gradients(
    model: Any, settings: dict[str, float], tmp_path: Path, *, packed: bool = True
) -> dict[str, torch.Tensor]:
    data = source_of(random_store(tmp_path / "store"))
    tokens_per_pack = 10_000 if packed else int(data.store.example_lengths.max())
    model.zero_grad()
    objective = Objective("actor_critic", actor_critic, settings)
    StepRunner(objective, model, ALONE)(data.step(np.arange(6), tokens_per_pack, 0, 1))
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_neither_moves_the_other(tmp_path: Path):
    model = model_with_head()
    both = gradients(model, {}, tmp_path)
    stronger = gradients(model, {"critic": 8.0}, tmp_path)
    for name, grad in both.items():
        eight = 8.0 if name.startswith("value_head.") else 1.0
        torch.testing.assert_close(stronger[name], eight * grad, rtol=1e-12, atol=1e-15)
    actor = gradients(model, {"actor": 4.0}, tmp_path)
    for name, grad in both.items():
        four = 1.0 if name.startswith("value_head.") else 4.0
        torch.testing.assert_close(actor[name], four * grad, rtol=1e-12, atol=1e-15)


def test_packs_change_nothing(tmp_path: Path):
    model = model_with_head()
    one, many = (gradients(model, {}, tmp_path, packed=packed) for packed in (True, False))
    for name, grad in one.items():
        torch.testing.assert_close(many[name], grad, rtol=1e-7, atol=1e-10)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("critic")


def test_it_has_a_learning_rate_and_a_clip_of_its_own(place: Path):
    slow = small_run(place, "ppo_offline", "slow", value_head_lr=1e-12, **STEADY)
    rows = [row for row in read_metrics(slow / "metrics.jsonl") if "loss" in row]
    assert [(row["lr"], row["lr/value_head"]) for row in rows] == [(1e-3, 1e-12)] * 4
    assert all(row["grad_norm/value_head"] > 0 for row in rows)
    start, end = (load_file(slow / where / "value_head.safetensors") for where in ("checkpoints/step-2", "final"))
    assert all(torch.allclose(start[name], end[name], atol=1e-9) for name in start)
    before, after = (load_file(slow / where / "model.safetensors") for where in ("checkpoints/step-2", "final"))
    assert any(not torch.allclose(before[name], after[name], atol=1e-5) for name in before)
    usual = small_run(place, "ppo_offline", "usual", **STEADY)
    assert {row["lr/value_head"] for row in read_metrics(usual / "metrics.jsonl") if "loss" in row} == {1e-3}


@pytest.mark.parametrize("settings", [{}, {"lora": {"r": 4}}], ids=["whole", "lora"])
def test_stopped_and_continued_it_ends_with_the_same_bits(place: Path, settings: dict[str, Any]):
    name = "lora" if settings else "whole"
    unbroken = small_run(place, "ppo_offline", name, **settings)
    assert (unbroken / "checkpoints" / "step-4" / "optimizer-value_head.safetensors").exists()
    assert_same_bits(unbroken, broken_run(place, "ppo_offline", f"{name}-broken", **settings))


def test_final_is_a_plain_model_with_the_head_beside(place: Path):
    from transformers import AutoModelForCausalLM

    run = small_run(place, "ppo_offline", "plain")
    _, report = AutoModelForCausalLM.from_pretrained(run / "final", output_loading_info=True)
    assert not any(report.values())
    assert set(load_file(run / "final" / "value_head.safetensors")) == {
        f"{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")
    }


def test_a_run_goes_on_with_the_head_of_the_model_it_starts_from(place: Path):
    first = small_run(place, "ppo_offline", "first")
    second = small_run(place, "ppo_offline", "second", model=str(first), lr=1e-12, value_head_lr=1e-12)
    old, new = (load_file(run / "final" / "value_head.safetensors") for run in (first, second))
    assert all(torch.allclose(old[name], new[name], atol=1e-8) for name in old)
    assert not (small_run(place, "sft", "none", model=str(first)) / "final" / "value_head.safetensors").exists()


def test_models_that_read_padded_batches_have_values_too(tmp_path: Path):
    data = source_of(random_store(tmp_path / "store"))
    model = model_with_head()
    pack = data.step(np.arange(6), 10_000, 0, 1).packs[0].pack
    packed = model(pack, {"values"})["values"]
    model.inner.set_attn_implementation("eager")
    model.packed = False
    torch.testing.assert_close(model(pack, {"values"})["values"], packed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("setting", ["value_head_lr", "value_head_max_grad_norm"])
def test_settings_of_a_head_that_is_not_there_are_refused(place: Path, setting: str):
    with pytest.raises(UserError, match=f"{setting} has no effect: dpo trains no value head"):
        small_run(place, "dpo", "refused", **{setting: 0.5})
    with pytest.raises(ValidationError):
        small_config(place, "ppo_offline", "refused", **{setting: -1})
    assert trainees_of(bind("ppo_offline", {})) == {"policy", "value_head"}
