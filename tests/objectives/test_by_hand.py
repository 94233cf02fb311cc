"""Values worked out by hand; the arithmetic stands in the comments."""

import math

import pytest
import torch

from heedful.objectives import REGISTRY, dpo, kto, plackett_luce, reward, sft
from heedful.objectives.reduce import Objective
from heedful.objectives.unpaired import mismatched_log_ratio
from heedful.objectives.views import Batch, Lists, Pairs, Singles, Tokens


def batch(logps, ref_logps, lengths, **rows) -> Batch:
    double = {"dtype": torch.float64}
    return Batch(
        torch.tensor(lengths),
        torch.arange(len(lengths)) // 2,
        {"logps": torch.tensor(logps, **double), "ref_logps": torch.tensor(ref_logps, **double)},
        {name: torch.tensor(values, **double) for name, values in rows.items()},
    )


PAIR = batch([-1.0, -2.0, -0.5], [-1.5, -2.5, -0.25], [2, 1], chosen=[1.0, 0.0], desirable=[1.0, 0.0])


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


# PAIR has r_w = 1, r_l = -¼, h = 1¼;  S_w = -3, S_l = -½;  m_w = -1½ (two tokens), m_l = -½.  σ(1¼) = 0.777300.
WORKED = [
    # (1/2 + 1/4 - 1)²
    ("ipo", {"tau": 0.5}, {"loss": [0.0625]}),
    # (0.9·log(1 + e^-1.25) - 0.1·log(1 + e^1.25)) / 0.8 = (0.9·0.251929 - 0.1·1.501929) / 0.8
    ("robust_dpo", {"beta": 1.0, "label_smoothing": 0.1}, {"loss": [0.095679]}),
    # 0.777300·log(0.777300/0.75) + 0.222700·log(0.222700/0.25) = 0.027791 - 0.025752
    ("exo", {"beta": 1.0, "label_smoothing": 0.25}, {"loss": [0.002039]}),
    # log(1 + e^-1) + ½·log(1 + e) + ½·log(1 + e^-0.25) = 0.313262 + 0.656631 + 0.287970
    ("nca", {"beta": 1.0}, {"loss": [1.257863]}),
    # (1 - 1)² + (-0.25 + 1)²
    ("sppo", {"beta": 0.5}, {"loss": [0.5625]}),
    # σ(-1) + σ(-0.25) = 0.268941 + 0.437823
    ("apo_zero", {"beta": 1.0}, {"loss": [0.706764]}),
    # σ(1) + σ(-1.25) = 0.731059 + 0.222700
    ("apo_down", {"beta": 1.0}, {"loss": [0.953759]}),
    # 0.222700·0.251929 + 0.777300·e^-1.25 = 0.056105 + 0.222700
    ("discopop", {"beta": 1.0, "temperature": 1.0}, {"loss": [0.278805]}),
    # 1 - 0.5·1.25
    ("hinge", {"beta": 0.5}, {"loss": [0.375]}),
    # 1 + 3 - 0.5, and 0.1·3
    ("slic", {"delta": 1.0, "nll_weight": 0.1}, {"loss": [3.5], "nll": [0.3]}),
    # 2·(-1.5 + 0.5 - 0.5) = -3;  log(1 + e³)
    ("simpo", {"beta": 2.0, "gamma_beta_ratio": 0.5}, {"loss": [3.048587]}),
    # log(1 + e^2.5), and 1.5
    ("cpo", {"beta": 1.0}, {"loss": [2.578889], "nll": [1.5]}),
    # odds e^-1.5/(1 - e^-1.5) = 0.287217 and e^-0.5/(1 - e^-0.5) = 1.541494; 0.1·log(1 + 1.541494/0.287217)
    ("orpo", {"odds_weight": 0.1}, {"loss": [1.5], "odds": [0.185113]}),
    # one pair has nothing to be sorted with: dpo
    ("aot", {"beta": 0.5}, {"loss": [0.4287006]}),
    # σ(-1), and σ(-0.25)
    ("kto_zero", {"beta": 1.0}, {"loss": [0.268941, 0.437823]}),
    # log(1 + e^-0.5), and log(1 + e^-0.75)
    ("kto_logsigmoid", {"beta": 1.0}, {"loss": [0.474077, 0.386871]}),
    # points: max(0, 1) of the desirable, max(0, -0.25) of the undesirable.  1 - σ(1 - 0), 1 - σ(1 + 0.25)
    ("kto_simple", {"beta": 1.0}, {"loss": [0.268941, 0.222700]}),
    # two responses: dpo
    ("plackett_luce", {"beta": 0.5}, {"loss": [0.4287006]}),
    # T = 1.5: log(e^-2.25 + e^-0.75) + 2.25 = log(1 + e^1.5); 0.05·1²·3
    ("pro", {"sft_weight": 0.05}, {"loss": [1.701413], "sft": [0.15]}),
]


@pytest.mark.parametrize(("name", "settings", "expected"), WORKED, ids=[case[0] for case in WORKED])
def test_worked_out(name, settings, expected):
    rows = dict(PAIR.responses, rank=torch.tensor([1.0, 2.0]), reward=torch.tensor([2.0, 0.5], dtype=torch.float64))
    full = Batch(PAIR.lengths, PAIR.group_of, PAIR.tokens, rows)
    outcome = Objective(name, REGISTRY[name], settings)(full, {"z": torch.tensor(0.5, dtype=torch.float64)})
    assert {k: term.values.tolist() for k, term in outcome.terms.items()} == {
        k: pytest.approx(v, abs=2e-6) for k, v in expected.items()
    }


def test_every_objective_is_worked_out_by_hand():
    above = {"sft", "dpo", "kto", "reward"}
    assert {case[0] for case in WORKED} | above == set(REGISTRY)


def test_identities():
    from tests.objectives.batches import random_batch

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
