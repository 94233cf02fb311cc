"""Values worked out by hand; the arithmetic stands in the comments."""

import math

import pytest
import torch

from heedful.objectives import REGISTRY, awr, dpo, kto, plackett_luce, reward, sft
from heedful.objectives.unpaired import mismatched_log_ratio
from heedful.objectives.views import Batch, Lists, Pairs, Singles, Tokens
from heedful.proofs.batches import random_batch
from heedful.proofs.worked import PAIR, WORKED, hand_value
from heedful.proofs.worked import worked_batch as batch


def test_sft():
    # -(-1), -(-2), -(-0.5)
    assert sft(Tokens(PAIR)).tolist() == [1.0, 2.0, 0.5]


def test_dpo():
    # chosen: (-1 + 1.5) + (-2 + 2.5) = 1;  rejected: -0.5 + 0.25 = -0.25;  margin 1.25;  β·margin = 0.625
    # -log σ(0.625) = log(1 + e^-0.625) = log(1.535261…) = 0.428701…
    values, metrics = dpo(Pairs(PAIR), beta=0.5)
    assert values.tolist() == pytest.approx([math.log(1 + math.exp(-0.625))])
    assert values.item() == pytest.approx(0.4287006, abs=1e-6)
    assert metrics["rewards/chosen"].tolist() == pytest.approx([0.5])
    assert metrics["rewards/rejected"].tolist() == pytest.approx([-0.125])
    assert metrics["rewards/accuracies"].tolist() == [1.0]


def test_dpo_is_log_two_where_policy_and_reference_agree():
    same = batch([-1.0, -2.0, -0.5], [-1.0, -2.0, -0.5], [2, 1], chosen=[1.0, 0.0])
    assert dpo(Pairs(same))[0].tolist() == pytest.approx([math.log(2)])


def test_kto():
    # z = 0.5, β = 1, λ_D = 2, λ_U = 3.  desirable r = 1:   2·(1 - σ(0.5))  = 2·0.377541 = 0.755081
    #                                   undesirable r = -¼: 3·(1 - σ(0.75)) = 3·0.320821 = 0.962464
    values, _ = kto(
        Singles(PAIR),
        torch.tensor(0.5, dtype=torch.float64),
        beta=1.0,
        desirable_weight=2.0,
        undesirable_weight=3.0,
    )
    assert values.tolist() == pytest.approx([0.7550813, 0.9624639], abs=1e-6)


def test_kto_never_takes_a_negative_reference_point():
    at_zero, _ = kto(Singles(PAIR), torch.tensor(0.0, dtype=torch.float64))
    below, metrics = kto(Singles(PAIR), torch.tensor(-3.0, dtype=torch.float64))
    assert torch.equal(at_zero, below)
    assert metrics["kl"].item() == 0.0


def test_the_mismatched_statistic_is_the_summed_log_ratio():
    assert mismatched_log_ratio(Singles(PAIR)).tolist() == pytest.approx([1.0, -0.25])


def test_reward():
    # gap 1.5, margin 0.5: log(1 + e^-1) = 0.313262;  centring 0.1·(2 + 0.5)² = 0.625
    scored = batch([-1.0], [-1.0], [1, 0], chosen=[1.0, 0.0], scores=[2.0, 0.5], margin=[0.5, 0.5])
    terms, metrics = reward(Pairs(scored), margin=True, centring=0.1)
    assert terms["loss"].values.tolist() == pytest.approx([0.3132617], abs=1e-6)
    assert terms["centring"].values.tolist() == pytest.approx([0.625])
    assert metrics["rewards/margins"].tolist() == pytest.approx([1.5])
    plain, _ = reward(Pairs(scored))
    # log(1 + e^-1.5) = 0.201413
    assert plain["loss"].values.tolist() == pytest.approx([0.2014133], abs=1e-6)
    assert set(plain) == {"loss"}


def test_a_margin_the_data_does_not_give_is_zero():
    scored = batch([-1.0], [-1.0], [1, 0], chosen=[1.0, 0.0], scores=[2.0, 0.5], margin=[math.nan, math.nan])
    assert torch.equal(reward(Pairs(scored), margin=True)[0]["loss"].values, reward(Pairs(scored))[0]["loss"].values)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_worked_out(name):
    verdict = hand_value(name)
    assert verdict.deviation is not None
    assert verdict.passed, verdict.problem


def test_every_objective_is_worked_out_by_hand():
    assert {name for name, _, _ in WORKED} == set(REGISTRY)


def test_identities():
    pairs = random_batch(11)
    plain = dpo(Pairs(pairs), beta=0.3)[0]
    assert torch.allclose(dpo(Pairs(pairs), beta=0.3, label_smoothing=0.0)[0], plain)
    assert torch.allclose(dpo(Pairs(pairs), beta=0.3, divergence="alpha", alpha=1e-9)[0], plain, atol=1e-6)
    alpha_one = dpo(Pairs(pairs), beta=0.3, divergence="alpha", alpha=1.0)[0]
    assert torch.allclose(dpo(Pairs(pairs), beta=0.3, divergence="forward_kl")[0], alpha_one)
    assert torch.allclose(plackett_luce(Lists(pairs), beta=0.3)[0], plain)
    robust = REGISTRY["robust_dpo"](Pairs(pairs), beta=0.3, label_smoothing=0.0)[0]
    assert torch.allclose(robust, plain)
    zero = torch.zeros((), dtype=torch.float64)
    singles = Singles(pairs)
    assert torch.allclose(REGISTRY["kto_zero"](singles, beta=0.3)[0], kto(singles, zero, beta=0.3)[0])
    free = REGISTRY["simpo"](Pairs(pairs), beta=0.3, gamma_beta_ratio=0.0)[0]
    one_token = Batch(torch.ones(6, dtype=torch.long), pairs.group_of, *_first_tokens(pairs))
    s_free = REGISTRY["cpo"](Pairs(one_token), beta=0.3, nll_weight=0.0)[0]["loss"].values
    assert torch.allclose(REGISTRY["simpo"](Pairs(one_token), beta=0.3, gamma_beta_ratio=0.0)[0], s_free)
    assert not torch.allclose(free, s_free)


def _first_tokens(batch: Batch):
    first = batch.token_starts
    return {k: v[first] for k, v in batch.tokens.items()}, batch.responses


def test_the_share_of_weights_that_awr_holds():
    # A = 0, ¼, -¼ and β = ½: weights 1, e^½ = 1.648721 and e^-½ = 0.606531.  Above 1.5 is one of three, above ½ all
    # are, and a weight that is the largest one allowed is not held.
    for clip, weights, share in (
        (1.5, [1.0, 1.5, 0.606531], 1 / 3),
        (0.5, [0.5, 0.5, 0.5], 1.0),
        (1.0, [1.0, 1.0, 0.606531], 1 / 3),
        (1000.0, [1.0, 1.648721, 0.606531], 0.0),
    ):
        _, metrics = awr(Tokens(PAIR), beta=0.5, clip=clip)
        assert metrics["weights"].tolist() == pytest.approx(weights, abs=1e-6)
        assert metrics["weights/clipped"].mean().item() == pytest.approx(share)
