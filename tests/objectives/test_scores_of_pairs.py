"""DPO on other scores than summed log-ratios, and conditional fine-tuning's declaration."""

from __future__ import annotations

import pytest
import torch

from heedful.objectives import bind, csft, dpo, hinge, ipo, sft, simpo
from heedful.objectives.trial import needs
from heedful.objectives.views import Pairs, Singles, Tokens
from heedful.proofs.batches import random_batch, replaced
from heedful.types import UserError

BATCH = random_batch(51)


def test_dpo_on_mean_log_likelihoods_is_simpo_without_a_margin() -> None:
    free = dpo(Pairs(BATCH), beta=2.0, reference_free=True, length_normalized=True)[0]
    torch.testing.assert_close(free, simpo(Pairs(BATCH), beta=2.0, gamma_beta_ratio=0.0)[0])


def test_a_uniform_reference_is_none() -> None:
    # log π_ref = -½ for every response, whatever its length, cancels in the margin
    share = (0.5 / BATCH.lengths.double()).repeat_interleave(BATCH.lengths)
    uniform = replaced(BATCH, {"ref_logps": -share})
    torch.testing.assert_close(dpo(Pairs(uniform))[0], dpo(Pairs(uniform), reference_free=True)[0])


def test_without_a_reference_none_is_asked_for() -> None:
    assert needs(bind("dpo", {"reference_free": True})) == {"logps", "chosen"}
    assert needs(bind("dpo", {"margin": True})) == {"logps", "ref_logps", "chosen", "margin"}


@pytest.mark.parametrize("setting", ["reference_free", "length_normalized"])
def test_a_divergence_of_ratios_goes_with_neither(setting: str) -> None:
    with pytest.raises(UserError, match=f"divergence=js is of ratios to a reference; {setting} goes with reverse_kl"):
        bind("dpo", {"divergence": "js", setting: True})


def test_a_margin_asks_for_more() -> None:
    asked = Pairs(BATCH).asked_margin
    assert (asked > 0).all()
    assert (dpo(Pairs(BATCH), margin=True)[0] > dpo(Pairs(BATCH))[0]).all()
    none = replaced(BATCH, {"margin": torch.full_like(BATCH.responses["margin"], float("nan"))})
    assert torch.equal(dpo(Pairs(none), margin=True)[0], dpo(Pairs(BATCH))[0])


def test_ipo_in_sums_asks_a_margin_of_the_whole_response() -> None:
    # (h - 1/(2τ))² = ((1 - 2τh)/(2τ))²: what the hinge with β = 2τ squares, where it is not yet met
    short = hinge(Pairs(BATCH), beta=0.02)[0]
    torch.testing.assert_close(ipo(Pairs(BATCH), tau=0.01, length_normalized=False)[0], (short / 0.02) ** 2)


def test_conditional_fine_tuning_imitates_all_and_names_its_control_tokens() -> None:
    term, metrics = csft(Singles(BATCH))
    assert torch.equal(term.values, sft(Tokens(BATCH)))
    assert term.over == "tokens"
    assert csft.control_tokens == ("good_token", "bad_token")
    of_desirable = BATCH.responses["desirable"].repeat_interleave(BATCH.lengths) == 1
    assert torch.equal(metrics["logps/chosen"], BATCH.tokens["logps"][of_desirable])
    assert torch.equal(metrics["logps/rejected"], BATCH.tokens["logps"][~of_desirable])
