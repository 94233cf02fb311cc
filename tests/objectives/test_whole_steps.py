"""Objectives that remember earlier steps or look at a step as a whole: BCO's moments, AOT's quantiles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from heedful.objectives import REGISTRY, aot, aot_unpaired, bco, bco_pair, bind, kto_logsigmoid
from heedful.objectives.reduce import Objective, Term, loss_of
from heedful.objectives.views import Batch, Pairs, Singles
from heedful.proofs.batches import leaves, random_batch, replaced
from heedful.proofs.oracles import ORACLES
from heedful.proofs.worked import worked_batch
from heedful.types import UserError

ZERO = torch.zeros((), dtype=torch.float64)


def total(objective: Objective, batch: Batch, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    outcome = objective(batch, None, state)
    assert outcome.state is not None
    return loss_of(outcome, outcome.weight_sums), outcome.state


@pytest.mark.parametrize("name", ["bco", "bco_pair"])
def test_over_three_steps_as_the_oracle_that_sees_them_all(name: str) -> None:
    oracle, cases = ORACLES[name]
    for settings in cases:
        objective, state, earlier = Objective(name, REGISTRY[name], settings), {}, []
        for seed, sizes in enumerate(((2, 2), (2, 2, 2), (2,))):
            batch = random_batch(40 + seed, sizes=sizes)
            loss, state = total(objective, batch, state)
            expected = oracle(batch, {"earlier": earlier}, settings)
            torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-10)
            wanted = torch.autograd.grad(expected, [leaves(batch)["logps"]])
            torch.testing.assert_close(torch.autograd.grad(loss, [leaves(batch)["logps"]]), wanted, rtol=0, atol=1e-10)
            earlier.append(batch)


@pytest.mark.parametrize("name", ["bco", "bco_pair"])
def test_at_the_reference_the_shift_is_0_and_every_classifier_says_one_half(name: str) -> None:
    batch = random_batch(41)
    same = replaced(batch, {"ref_logps": batch.tokens["logps"].detach().clone()})
    loss, state = total(Objective(name, REGISTRY[name], {}), same, {})
    assert loss.item() == pytest.approx(math.log(2) * (2 if name == "bco_pair" else 1))
    assert state["mean"].abs().max() == 0


def test_a_shift_settled_at_0_is_kto_without_a_reference_point() -> None:
    batch, settled = random_batch(42), {"mean": torch.zeros(2), "count": torch.full((2,), 1e30)}
    values = bco(Singles(batch), settled, beta=0.3)[0]
    torch.testing.assert_close(values, kto_logsigmoid(Singles(batch), ZERO, beta=0.3)[0])


def test_each_side_counts_for_half_of_the_shift_however_many_it_has() -> None:
    # βr: 1, 3 desirable (mean 2), -1 undesirable: ½·(2 - 1), not (1 + 3 - 1)/3
    batch = worked_batch([-1.0, -1.0, -2.0], [-2.0, -4.0, -1.0], [1, 1, 1], desirable=[1.0, 1.0, 0.0])
    assert bco(Singles(batch), {}, beta=1.0)[1]["shift"].item() == pytest.approx(0.5)
    only_desirable = batch.select(torch.tensor([0, 1]))
    assert bco(Singles(only_desirable), {}, beta=1.0)[1]["shift"].item() == pytest.approx(2.0)


def test_density_ratios_are_held_between_their_bounds() -> None:
    # p/(1-p) of 0, ½, 0.8 and 1: 0 → 0.5, 1, 4, ∞ → 10
    undesirable = worked_batch(
        [-1.0] * 4, [-1.0] * 4, [1] * 4, desirable=[0.0] * 4, prompt_desirability=[0.0, 0.5, 0.8, 1.0]
    )
    values = bco(Singles(undesirable), {}, density_ratio=True)[0]
    assert (values / math.log(2)).tolist() == pytest.approx([0.5, 1.0, 4.0, 10.0])


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UserError, match=r"min_ratio=3.0 is above max_ratio=2.0"):
        bind("bco", {"min_ratio": 3.0, "max_ratio": 2.0})


def test_a_paired_shift_is_dpos_margin_seen_from_both_sides() -> None:
    # one pair: δ = (r_w + r_l)/2, so both are half the margin from it
    batch = random_batch(43, sizes=(2,))
    half = bco_pair(Pairs(batch), {}, beta=0.4)[0]
    torch.testing.assert_close(half, -2 * torch.nn.functional.logsigmoid(0.2 * Pairs(batch).margin))


def test_as_many_on_both_sides_is_aot_on_pairs() -> None:
    batch = random_batch(44, sizes=(2, 2, 2, 2))
    unpaired = aot_unpaired(Singles(batch), beta=0.3, label_smoothing=0.1)[0]
    torch.testing.assert_close(unpaired.numerator, aot(Pairs(batch), beta=0.3, label_smoothing=0.1)[0].mean())


def test_each_value_of_aot_belongs_to_the_pair_of_its_chosen_response() -> None:
    # chosen 3 and 1, rejected 0 and 1: 3 meets 1 and 1 meets 0; log(1 + e^-2), log(1 + e^-1)
    batch = worked_batch([-1.0] * 4, [-4.0, -1.0, -2.0, -2.0], [1] * 4, chosen=[1.0, 0.0, 1.0, 0.0])
    assert aot(Pairs(batch), beta=1.0)[0].tolist() == pytest.approx([0.126928, 0.313262], abs=1e-6)


def test_one_undesirable_is_compared_with_every_desirable() -> None:
    # log-ratios 1 and 3 against -½: ½·log(1 + e^-1.5) + ½·log(1 + e^-3.5) = ½·0.201413 + ½·0.029750
    batch = worked_batch([-1.0, -1.0, -2.0], [-2.0, -4.0, -1.5], [1, 1, 1], desirable=[1.0, 1.0, 0.0])
    assert aot_unpaired(Singles(batch), beta=1.0)[0].numerator.item() == pytest.approx(0.115582, abs=1e-6)


def test_a_step_with_one_side_only_costs_nothing() -> None:
    batch = random_batch(45)
    one_side = replaced(batch, {"desirable": torch.ones_like(batch.responses["desirable"])})
    term = aot_unpaired(Singles(one_side))[0]
    loss = loss_of(Objective("aot_unpaired", aot_unpaired, {})(one_side), {"loss": term.weight_sum})
    assert isinstance(term, Term)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, [leaves(one_side)["logps"]])[0].abs().max() == 0
