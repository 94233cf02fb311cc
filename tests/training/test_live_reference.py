"""A reference beside the policy: synced when it is time, the same after a kill, without a gradient."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from heedful.models import load_policy
from heedful.models.heads import lm_head
from heedful.models.logprobs import ReferenceStates
from heedful.objectives import bind
from heedful.objectives.reduce import Objective, Term, whole_step
from heedful.objectives.views import Tokens
from heedful.training import train
from heedful.training.context import state_bytes
from heedful.training.live_reference import LiveReference
from heedful.training.loop import Loop
from heedful.training.step import StepRunner
from heedful.training.world import World
from heedful.types import UserError
from tests.end_to_end.runs import assert_same_bits
from tests.fakes import save_tiny_model
from tests.training.helpers import random_store, small_model, source_of
from tests.training.small_runs import broken_run, losses, small_config, small_run, steps

ALONE = World(0, 1, torch.device("cpu"), "single")
STEADY: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}
KEPT: dict[str, Any] = {**STEADY, "checkpoint_every": 1, "keep": 9}
HELD = """
from heedful.objectives.reduce import Term
from heedful.objectives.views import Tokens

def held(tokens: Tokens, *, strength: float = 1.0):
    return {"nll": Term(-tokens.logps), "kl": Term(strength * tokens.kl)}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live")
    (path / "held.py").write_text(HELD)
    return path


@pytest.fixture(scope="module")
def held(place: Path) -> str:
    """An objective of one's own: imitation, held by the whole divergence."""
    return f"{place / 'held.py'}:held"


def checkpoint(run: Path, step: int, file: str) -> dict[str, torch.Tensor]:
    """A file of a checkpoint, names as in the plain model."""
    return {k.removeprefix("inner."): v for k, v in load_file(run / "checkpoints" / f"step-{step}" / file).items()}


# ---- syncing


def test_synced_at_every_step_it_is_the_policy_of_one_step_ago(place: Path):
    run = small_run(place, "dpo", "each", sync_reference_every=1, **KEPT)
    for step in (2, 3, 4):
        policy = checkpoint(run, step - 1, "model.safetensors")
        reference = checkpoint(run, step, "reference.safetensors")
        assert reference.keys() == policy.keys()
        assert all(torch.equal(reference[name], policy[name]) for name in policy)


def test_synced_at_every_other_step_it_waits(place: Path):
    run = small_run(place, "dpo", "other", sync_reference_every=2, **KEPT)
    one, two, three, four = (checkpoint(run, step, "reference.safetensors") for step in (1, 2, 3, 4))
    policies = {step: checkpoint(run, step, "model.safetensors") for step in (1, 3)}
    assert all(torch.equal(two[name], policies[1][name]) for name in two)
    assert all(torch.equal(two[name], three[name]) for name in two)
    assert all(torch.equal(four[name], policies[3][name]) for name in four)
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_before_its_first_sync_it_is_what_the_cache_holds(place: Path):
    live = small_run(place, "dpo", "late", sync_reference_every=1000, cache_dir=str(place / "no-cache"), **STEADY)
    assert losses(live) == pytest.approx(losses(small_run(place, "dpo", "cached", **STEADY)), abs=1e-6)
    assert not list((place / "no-cache").rglob("*.npz")), "nothing is computed ahead"
    synced = small_run(place, "dpo", "synced", sync_reference_every=1, **STEADY)
    assert losses(synced)[:2] == pytest.approx(losses(live)[:2], abs=1e-6)
    assert losses(synced)[2:] != pytest.approx(losses(live)[2:], abs=1e-4)


def test_another_model_may_be_where_it_begins(place: Path):
    other = save_tiny_model(place / "other", seed=5)
    begun = losses(small_run(place, "dpo", "begun", sync_reference_every=1, reference=str(other), **STEADY))
    plain = losses(small_run(place, "dpo", "begun-plain", reference=str(other), **STEADY))
    own = losses(small_run(place, "dpo", "begun-own", sync_reference_every=1, **STEADY))
    assert begun[0] == pytest.approx(plain[0], abs=1e-6)
    assert begun[0] != pytest.approx(own[0], abs=1e-3)
    assert begun[1] != pytest.approx(plain[1], abs=1e-3)


@pytest.mark.parametrize("settings", [{}, {"lora": {"r": 4}}], ids=["whole", "lora"])
def test_stopped_and_continued_it_ends_with_the_same_bits(place: Path, settings: dict[str, Any]):
    name = "bits-lora" if settings else "bits"
    settings = {**settings, "sync_reference_every": 2, "steps": 6}
    unbroken = small_run(place, "kto", name, **settings)
    assert_same_bits(unbroken, broken_run(place, "kto", f"{name}-broken", step=5, **settings))


def test_of_adapters_only_they_are_copied(place: Path):
    run = small_run(place, "dpo", "adapters", sync_reference_every=1, lora={"r": 4}, **KEPT)
    reference = checkpoint(run, 3, "reference.safetensors")
    adapter = checkpoint(run, 2, "adapter_model.safetensors")
    assert len(reference) == len(adapter)
    plain = {name.replace(".default", ""): tensor for name, tensor in reference.items()}
    assert all(torch.equal(plain[name], adapter[name]) for name in adapter)


def test_a_step_that_is_skipped_syncs_nothing(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Loop, "_finite", lambda loop, *_: loop.trainer.step != 2)
    run = small_run(place, "dpo", "skipped", sync_reference_every=1, **KEPT)
    assert [row.get("skipped", False) for row in steps(run)] == [False, False, True, False]
    two, three = (checkpoint(run, step, "reference.safetensors") for step in (2, 3))
    assert all(torch.equal(two[name], three[name]) for name in two)


# ---- divergences


def test_a_run_begins_at_no_divergence_and_is_held_by_it(place: Path, held: str):
    free = small_run(place, {"name": held, "strength": 0.0}, "free", **STEADY)
    strong = small_run(place, {"name": held, "strength": 30.0}, "strong", **STEADY)
    assert [steps(run)[0]["train/loss/kl"] for run in (free, strong)] == [0.0, 0.0]
    assert 0.0 < steps(strong)[-1]["train/loss/kl"] / 30.0 < 0.05
    assert steps(strong)[-1]["train/loss/nll"] > steps(free)[-1]["train/loss/nll"]
    assert not (strong / "checkpoints" / "step-4" / "reference.safetensors").exists(), "it never changes"


@pytest.mark.parametrize(
    "settings",
    [{}, {"lora": {"r": 4}}, {"sync_reference_every": 1}, {"sync_reference_every": 1, "lora": {"r": 4}}],
    ids=["frozen", "frozen, adapters", "synced", "synced, adapters"],
)
def test_divergences_survive_a_kill(place: Path, held: str, settings: dict[str, Any]):
    name = "-".join(["kl", *settings])
    unbroken = small_run(place, held, name, **settings)
    assert_same_bits(unbroken, broken_run(place, held, f"{name}-broken", **settings))


def divergence(tokens: Tokens, *, strength: float = 1.0):
    """A loss of every column that needs a reference."""
    return {"nll": Term(-tokens.logps), "kl": Term(strength * tokens.kl), "k1": Term(tokens.logps - tokens.ref_logps)}


@whole_step
def coupled(tokens: Tokens):
    """The divergence against the mean of the step's."""
    return (tokens.kl - tokens.kl.mean() - 1.0) ** 2 - tokens.logps * tokens.ref_logps


@pytest.mark.parametrize("function", [divergence, coupled])
def test_packs_change_nothing(tmp_path: Path, function: Any):
    data = source_of(random_store(tmp_path / "store"))
    policy, other = small_model(seed=0).double(), small_model(seed=1).double().requires_grad_(False)
    reference = LiveReference(other, contextlib.nullcontext, policy, frozenset({"logps", "states"}), {}, None)

    def gradients(tokens_per_pack: int) -> tuple[float, list[torch.Tensor], int]:
        policy.zero_grad()
        step = data.step(np.arange(6), tokens_per_pack, 0, 1)
        runner = StepRunner(Objective("mine", function, {}), policy, ALONE, reference=reference)
        return runner(step).loss, [p.grad.clone() for p in policy.parameters()], len(step.packs)

    one, many = gradients(10_000), gradients(int(data.store.example_lengths.max()))
    assert (one[2], many[2] > 2) == (1, True)
    assert many[0] == pytest.approx(one[0], rel=1e-9)
    for a, b in zip(one[1], many[1], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-9)
    assert all(p.grad is None for p in other.parameters())


def test_what_it_gives_is_what_the_other_model_says(tmp_path: Path):
    data = source_of(random_store(tmp_path / "store"))
    policy, other = small_model(seed=0), small_model(seed=1)
    pack = data.step(np.arange(6), 10_000, 0, 1).packs[0].pack
    columns, states = LiveReference(other, contextlib.nullcontext, policy, frozenset({"logps", "states"}), {}, None)(
        pack
    )
    assert torch.equal(columns["ref_logps"], other(pack, {"logps"})["logps"])
    assert not columns["ref_logps"].requires_grad
    assert states is not None
    wanted = policy(pack, {"kl"}, ReferenceStates(other(pack, {"states"})["states"], lm_head(other.inner)))["kl"]
    assert torch.equal(policy(pack, {"kl"}, states)["kl"], wanted)


# ---- what is refused


def test_what_cannot_be_synced_is_refused(place: Path, held: str):
    with pytest.raises(UserError, match="sync_reference_every=1 has no effect: sft reads no reference"):
        small_run(place, "sft", "refused", sync_reference_every=1)
    with pytest.raises(ValidationError, match="sync_reference_every copies adapters"):
        small_config(place, "dpo", "refused", sync_reference_every=1, lora={"r": 4}, reference=str(place / "model"))
    wide = str(save_tiny_model(place / "wide", hidden_size=64))
    with pytest.raises(
        UserError, match=r"copies the policy into its reference, and reference=.*wide has other weights"
    ):
        small_run(place, "dpo", "refused", sync_reference_every=1, reference=wide)
    assert losses(small_run(place, held, "wide-run", reference=wide))[0] > 0, "a divergence takes any width"
    assert not (place / "refused").exists()


def test_a_reference_of_another_vocabulary_is_refused(place: Path, held: str):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(place / "model")
    model.resize_token_embeddings(model.config.vocab_size + 8)
    padded = place / "padded"
    save_tiny_model(padded)
    model.save_pretrained(padded)
    with pytest.raises(UserError, match=r"compares whole distributions, and reference=.*padded gives \d+ tokens"):
        small_run(place, held, "refused", reference=str(padded))


def test_a_model_beside_the_policy_is_counted(place: Path, held: str):
    """Four bytes a parameter; adapters need none, and the other columns of a reference are computed ahead."""
    config = small_config(place, "dpo", "counted")
    model = load_policy(config.model).model
    adapted = load_policy(config.model, lora={"r": 4}).model
    size = sum(p.numel() for p in model.parameters())
    cached = state_bytes(config, bind("dpo", {}), model)
    assert state_bytes(config, bind(held, {}), model) - cached == 4 * size
    synced = config.model_copy(update={"sync_reference_every": 1})
    assert state_bytes(synced, bind("dpo", {}), model) - cached == 4 * size
    assert state_bytes(synced, bind("dpo", {}), adapted) == state_bytes(config, bind("dpo", {}), adapted)


def test_a_dry_run_of_a_divergence_says_what_is_on(place: Path, held: str):
    said: list[str] = []
    settings = {"name": "dpo", "wpo": True}
    train(small_config(place, settings, "dry", sync_reference_every=1), dry_run=True, echo=said.append)
    (line,) = [line for line in said if line.startswith("would train dpo(")]
    assert line.endswith("wpo=True)")
    assert "humanline" not in line
    train(small_config(place, held, "dry"), dry_run=True, echo=said.append)
    assert not (place / "dry").exists()


CONTROLLED = """
from heedful.objectives.control import control_tokens
from heedful.objectives.reduce import Term
from heedful.objectives.views import Singles

@control_tokens(good="good", bad="bad")
def held(singles: Singles, *, good: str = "<|yes|>", bad: str = "<|no|>"):
    return {"nll": Term(-singles.seq_logps), "kl": Term(singles.kl, over="tokens")}
"""


def test_tokens_that_the_policy_gains_its_reference_gains_too(place: Path):
    (place / "controlled.py").write_text(CONTROLLED)
    run = small_run(place, f"{place / 'controlled.py'}:held", "controlled", sync_reference_every=1, **STEADY)
    assert steps(run)[0]["train/loss/kl"] == 0.0
    assert steps(run)[-1]["train/loss/kl"] > 0.0
