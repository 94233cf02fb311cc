"""Clipped policy gradients on given responses: what trains what, and where it stops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective, Outcome, loss_of
from heedful.objectives.trial import needs
from heedful.objectives.views import Batch
from heedful.proofs.batches import random_batch, replaced

BATCH = random_batch(31, sizes=(2, 3, 2))
AT_REFERENCE = replaced(BATCH, {"ref_logps": BATCH.tokens["logps"].detach().clone()})


def outcome(name: str, batch: Batch, **settings: object) -> Outcome:
    return Objective(name, REGISTRY[name], settings)(batch)


def gradient(name: str, batch: Batch, column: str = "logps", **settings: object) -> Tensor:
    found = outcome(name, batch, **settings)
    loss = loss_of(found, found.weight_sums)
    return torch.autograd.grad(loss, [batch.tokens[column]])[0]


def test_at_the_reference_the_gradient_is_minus_the_whitened_advantage() -> None:
    # d(-A·ρ)/d(log π) = -A·ρ, ρ = 1; the mean over all tokens divides by their number
    found = outcome("ppo_offline", AT_REFERENCE, kl_beta=0.0)
    raw = found.metrics["advantages"]
    white = (raw - raw.mean()) / raw.std(correction=0)
    expected = -white / len(raw)
    torch.testing.assert_close(gradient("ppo_offline", AT_REFERENCE, kl_beta=0.0), expected, rtol=1e-6, atol=1e-8)


def test_without_discount_or_critic_every_token_is_credited_with_its_responses_label() -> None:
    no_critic = replaced(BATCH, {"values": torch.zeros_like(BATCH.tokens["values"]).requires_grad_()})
    found = outcome("ppo_offline", no_critic, gamma=1.0, gae_lambda=1.0)
    label = torch.where(BATCH.responses["desirable"] == 1, 1.0, -1.0).double()
    torch.testing.assert_close(found.metrics["advantages"], label.repeat_interleave(BATCH.lengths))
    torch.testing.assert_close(found.metrics["returns"], label.repeat_interleave(BATCH.lengths))


def test_no_clip_is_an_infinite_one() -> None:
    for name in ("ppo_offline", "grpo_offline"):
        assert torch.equal(gradient(name, BATCH, clip=None), gradient(name, BATCH, clip=math.inf))


def test_a_ratio_that_has_gone_far_enough_gets_no_gradient() -> None:
    ratios = (BATCH.tokens["logps"] - BATCH.tokens["ref_logps"]).detach().exp()
    settings: dict[str, Any] = {"clip": 0.2, "kl_beta": 0.0}
    advantages = outcome("grpo_offline", BATCH, **settings).metrics["advantages"].repeat_interleave(BATCH.lengths)
    done = ((advantages > 0) & (ratios > 1.2)) | ((advantages < 0) & (ratios < 0.8))
    assert done.any()
    assert (~done).any()
    found = gradient("grpo_offline", BATCH, **settings)
    assert (found[done] == 0).all()
    assert (found[~done] * advantages[~done] < 0).all()
    assert torch.equal(outcome("grpo_offline", BATCH, **settings).metrics["ratios/clipped"] > 0, done)


def test_the_critic_trains_the_value_head_alone_and_nothing_else_does() -> None:
    terms = outcome("ppo_offline", BATCH).terms
    assert {name: term.trainee for name, term in terms.items()} == {
        "policy": "policy",
        "critic": "value_head",
        "kl": "policy",
    }
    values = BATCH.tokens["values"]
    for name, term in terms.items():
        (found,) = torch.autograd.grad(term.numerator, [values], allow_unused=True)
        assert (found is not None) == (name == "critic")


def test_the_critics_gradient_is_its_error() -> None:
    returns = outcome("ppo_offline", BATCH).metrics["returns"]
    values = BATCH.tokens["values"]
    expected = 0.3 * (values.detach() - returns) / len(returns)
    torch.testing.assert_close(gradient("ppo_offline", BATCH, "values", critic_weight=0.3), expected)


def test_rewards_come_from_labels_or_from_the_data() -> None:
    def read(**settings: object) -> frozenset[str]:
        return needs(Objective("ppo_offline", REGISTRY["ppo_offline"], settings)) & {"desirable", "reward", "kl"}

    assert read() == {"desirable"}
    assert read(reward="column") == {"reward"}
    assert read(reward="column", kl="full", kl_beta=0.0) == {"reward"}
    assert read(reward="column", kl="full") == {"reward", "kl"}


def test_equal_rewards_leave_grpo_only_its_penalty() -> None:
    equal = replaced(BATCH, {"reward": torch.full_like(BATCH.responses["reward"], 0.3)})
    terms = outcome("grpo_offline", equal, kl_beta=0.5).terms
    assert terms["policy"].values.abs().max() < 1e-12
    difference = (BATCH.tokens["ref_logps"] - BATCH.tokens["logps"]).detach()
    torch.testing.assert_close(
        gradient("grpo_offline", equal, kl_beta=0.5), 0.5 * (1 - difference.exp()) / len(difference)
    )


def test_grpo_weighs_tokens_alike_and_centres_every_prompt() -> None:
    found = outcome("grpo_offline", AT_REFERENCE, kl_beta=0.0)
    advantages = found.metrics["advantages"]
    for group in range(3):
        assert advantages[BATCH.group_of == group].sum().item() == pytest.approx(0, abs=1e-12)
    per_token = advantages.repeat_interleave(BATCH.lengths)
    assert found.terms["policy"].over == "tokens"
    torch.testing.assert_close(gradient("grpo_offline", AT_REFERENCE, kl_beta=0.0), -per_token / len(per_token))


def test_one_token_alone_gives_ppo_nothing_to_compare_with() -> None:
    one = Batch(
        torch.tensor([1]),
        torch.tensor([0]),
        {name: column[:1].detach().requires_grad_() for name, column in BATCH.tokens.items()},
        {name: column[:1] for name, column in BATCH.responses.items()},
    )
    assert gradient("ppo_offline", one, kl_beta=0.0).item() == 0
    assert math.isfinite(gradient("ppo_offline", one).item())
