"""Offline reinforcement learning: how the objectives coincide, and what their penalties do."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from heedful.objectives import REGISTRY, a_lol_kl
from heedful.objectives.reduce import Objective, loss_of
from heedful.objectives.trial import needs
from heedful.objectives.views import Batch
from heedful.proofs.batches import random_batch, replaced


def loss_and_gradient(name: str, batch: Batch, **settings: object) -> tuple[Tensor, Tensor]:
    """The step's loss, and its derivative by each token's log-probability."""
    outcome = Objective(name, REGISTRY[name], settings)(batch)
    loss = loss_of(outcome, outcome.weight_sums)
    (gradient,) = torch.autograd.grad(loss, [batch.tokens["logps"]])
    return loss.detach(), gradient


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(one, other, strict=True))


BATCH = random_batch(21, sizes=(2, 3, 1))
AT_REFERENCE = replaced(BATCH, {"ref_logps": BATCH.tokens["logps"].detach().clone()})


@pytest.mark.parametrize(
    ("one", "settings", "other"),
    [
        ("r_lol", {"clip": 0.9}, "wbc"),
        ("r_lol", {"clip": None}, "wbc"),
        ("a_lol", {"clip": 0.9}, "a_lol_ref_free"),
        ("a_lol_seq", {"clip": 0.9}, "a_lol"),
        ("a_lol_seq", {"clip": None}, "a_lol_ref_free"),
    ],
)
def test_at_the_reference_ratios_are_1(one: str, settings: dict, other: str) -> None:
    assert same(loss_and_gradient(one, AT_REFERENCE, **settings), loss_and_gradient(other, AT_REFERENCE, **OF[other]))
    assert not same(loss_and_gradient(one, BATCH, **settings), loss_and_gradient(other, BATCH, **OF[other]))


OF: dict[str, dict] = {"wbc": {}, "a_lol_ref_free": {}, "a_lol": {"clip": 0.9}}


@pytest.mark.parametrize(
    ("one", "settings", "other"),
    [
        ("r_lol", {"clip": 0.0}, "wbc"),
        ("r_gold", {"min_prob": 1.0}, "wbc"),
        ("a_lol", {"clip": 0.0}, "a_lol_ref_free"),
        ("a_lol_seq", {"clip": 0.0}, "a_lol_ref_free"),
        ("a_lol_kl", {"kl_beta": 0.0}, "a_lol_ref_free"),
    ],
)
def test_weights_of_1_everywhere(one: str, settings: dict, other: str) -> None:
    assert same(loss_and_gradient(one, BATCH, **settings), loss_and_gradient(other, BATCH))


def test_an_advantage_or_a_reward_of_1_is_nll() -> None:
    ones = torch.ones_like(BATCH.responses["reward"])
    nll = loss_and_gradient("nll", BATCH)
    assert same(loss_and_gradient("a_lol_ref_free", replaced(BATCH, {"reward": ones, "value": 0 * ones})), nll)
    assert same(loss_and_gradient("wbc", replaced(BATCH, {"reward": ones})), nll)


@pytest.mark.parametrize("name", ["a_lol", "a_lol_seq", "a_lol_ref_free"])
def test_what_is_below_its_prompts_value_trains_nothing(name: str) -> None:
    left_over = BATCH.responses["reward"] <= BATCH.responses["value"]
    assert left_over.any()
    _, gradient = loss_and_gradient(name, BATCH)
    assert (gradient[left_over.repeat_interleave(BATCH.lengths)] == 0).all()
    assert (gradient[~left_over.repeat_interleave(BATCH.lengths)] < 0).all()


def test_the_published_penalty_only_shifts_the_advantage() -> None:
    # S = Σ -log π has the derivative -1 at each token of its response; the mean over 6 responses divides by 6
    advantage = (BATCH.responses["reward"] - BATCH.responses["value"]).clamp(min=0)
    shifted = (-(advantage - 0.7) / 6).repeat_interleave(BATCH.lengths)
    _, gradient = loss_and_gradient("a_lol_kl", BATCH, kl="published", kl_beta=0.7)
    torch.testing.assert_close(gradient, shifted, rtol=0, atol=1e-12)
    assert torch.equal(loss_and_gradient("a_lol_kl", AT_REFERENCE, kl="published", kl_beta=0.7)[1], gradient)


def test_the_k3_penalty_knows_the_reference() -> None:
    free = loss_and_gradient("a_lol_ref_free", AT_REFERENCE)[1]
    # at the reference it is flat; above it, it lowers, and below it, it raises
    assert torch.allclose(loss_and_gradient("a_lol_kl", AT_REFERENCE, kl="k3", kl_beta=0.7)[1], free)
    pull = loss_and_gradient("a_lol_kl", BATCH, kl="k3", kl_beta=0.7)[1] - loss_and_gradient("a_lol_ref_free", BATCH)[1]
    above = BATCH.tokens["logps"].detach() > BATCH.tokens["ref_logps"]
    assert (pull[above] > 0).all()
    assert (pull[~above] < 0).all()


def test_only_the_full_penalty_asks_for_the_divergence() -> None:
    def read(kl: str) -> frozenset[str]:
        return needs(Objective("a_lol_kl", a_lol_kl, {"kl": kl})) & {"kl", "ref_logps"}

    assert read("full") == {"kl"}
    assert read("k3") == read("published") == {"ref_logps"}


def test_clip_together_with_the_penalty_is_no_setting() -> None:
    assert set(inspect.signature(a_lol_kl).parameters) == {"singles", "kl", "kl_beta"}


def test_no_reference_is_asked_for_where_none_is_read() -> None:
    for name in ("nll", "wbc", "r_gold", "a_lol_ref_free"):
        assert "ref_logps" not in needs(Objective(name, REGISTRY[name], {})), name


def test_a_weight_is_clamped_and_its_gradient_is_not_stopped() -> None:
    far = replaced(BATCH, {"ref_logps": BATCH.tokens["logps"].detach() - 5.0})
    _, gradient = loss_and_gradient("a_lol", far, clip=0.2)
    advantage = (far.responses["reward"] - far.responses["value"]).clamp(min=0)
    torch.testing.assert_close(gradient, (-1.2 * advantage / 6).repeat_interleave(far.lengths))
