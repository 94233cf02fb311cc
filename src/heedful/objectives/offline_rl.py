"""Offline reinforcement learning on the data's own responses and their rewards.  Axes: `B` responses, `N` tokens.

S = -log π(y|x), summed over the response's tokens and never divided by their number; R its reward, V the value of its
prompt under the reference policy, A⁺ = max(0, R - V) its advantage, of which what is left out (A ≤ 0) trains nothing.
ρ = π/π_ref, of the response or of a token.  No gradient flows through ρ, R or V.  Losses are means over the responses
of a step.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from heedful.maths import bounded_exp
from heedful.objectives.kl import KLForm, kl_per_token
from heedful.objectives.reduce import Term
from heedful.objectives.settings import Clip, NonNegative, Share
from heedful.objectives.views import Singles

Loss = tuple[Float[Tensor, " B"], dict[str, Tensor]]


def nll(singles: Singles) -> Loss:
    """Negative log-likelihood of whole responses: S, nats.  Baheti et al. 2024, arXiv:2305.14718.

    Imitates the data whatever its rewards.  `sft` averages the same over tokens; here over responses, so that a long
    response counts for as many tokens as it has.
    """
    return -singles.seq_logps, {"logps": singles.seq_logps}


def wbc(singles: Singles) -> Loss:
    """Weighted behaviour cloning: R·S.  Baheti et al. 2024, arXiv:2305.14718.

    Imitates each response by its reward; one with a negative reward is unlearnt.
    """
    return -singles.reward * singles.seq_logps, _rewarded(singles)


def r_gold(singles: Singles, *, min_prob: Share = 0.1) -> Loss:
    """Generation by off-policy learning from demonstrations: R·Σ_t max(π(token), p)·(-log π(token)).

    Tokens that the policy finds likely already count for more.  Pang & He 2021, arXiv:2009.07839, with the
    response's reward at every token, as in Baheti et al. 2024.

    min_prob: p, the least weight of a token; 1 gives every token the same (wbc), smaller neglects unlikely ones.
    """
    weight = singles.logps.detach().exp().clamp(min=min_prob)
    return -singles.reward * singles.sum(weight * singles.logps), {**_rewarded(singles), "weights": weight}


def r_lol(singles: Singles, *, clip: Clip = 0.9) -> Loss:
    """Reward-based leftover lunch: R·C(ρ)·S, with C(ρ) = ρ of the response clamped to [1 - ε, 1 + ε].

    Baheti et al. 2024, arXiv:2305.14718.  The clamp bounds a weight: unlike PPO's, it never stops a gradient.

    clip: ε, how far importance weights may leave 1; larger follows the policy further from the data and varies more,
        0 makes every weight 1 (wbc), null does not clamp.
    """
    weight = _clamped(bounded_exp(singles.log_ratio.detach()), clip)
    return -singles.reward * weight * singles.seq_logps, {**_rewarded(singles), **_weighted(singles, weight)}


def a_lol(singles: Singles, *, clip: Clip = 0.9) -> Loss:
    """Advantage leftover lunch: A⁺·C(ρ)·S, with C(ρ) = ρ of the response clamped to [1 - ε, 1 + ε].

    Baheti et al. 2024, arXiv:2305.14718.

    clip: ε, as in r_lol: larger follows the policy further from the data, 0 makes every weight 1, null does not clamp.
    """
    weight = _clamped(bounded_exp(singles.log_ratio.detach()), clip)
    metrics = {**_advantageous(singles), **_weighted(singles, weight)}
    return -_positive(singles) * weight * singles.seq_logps, metrics


def a_lol_seq(singles: Singles, *, clip: Clip = 0.9) -> Loss:
    """A-LoL with a ratio for every token of the sequence: A⁺·Σ_t C(ρ_t)·(-log π(token)).

    Baheti et al. 2024, arXiv:2305.14718.

    clip: ε, how far each token's weight may leave 1; larger follows the policy further, 0 makes every weight 1, null
        does not clamp.
    """
    weight = _clamped(bounded_exp((singles.logps - singles.ref_logps).detach()), clip)
    values = -_positive(singles) * singles.sum(weight * singles.logps)
    return values, {**_advantageous(singles), **_weighted(singles, weight)}


def a_lol_ref_free(singles: Singles) -> Loss:
    """A-LoL without a ratio: A⁺·S.  Baheti et al. 2024, arXiv:2305.14718.

    No reference is needed beyond the value V.  One of the published scripts leaves advantages unclamped, which unlearns
    responses below their prompt's value.
    """
    return -_positive(singles) * singles.seq_logps, _advantageous(singles)


def a_lol_kl(
    singles: Singles, *, kl: KLForm = "published", kl_beta: NonNegative = 0.1
) -> tuple[dict[str, Term], dict[str, Tensor]]:
    """A-LoL held by a penalty instead of a ratio: A⁺·S + β·Σ_t KL_t.  Baheti et al. 2024, arXiv:2305.14718.

    There is no ratio, hence no `clip`.  The published scripts have no default for β.

    kl: the penalty of a token.  `published` is log π - log π_ref, whose gradient is that of (A⁺ - β)·S: it only shifts
        the advantage, and the reference has no say.  `k3` is π_ref/π - log(π_ref/π) - 1, which pulls back to the
        reference; `full` is KL(π‖π_ref) over the vocabulary, the same in expectation over what π would say, and needs
        the reference beside the policy.
    kl_beta: β; larger stays closer to the reference or, as published, pushes down all that is not better by β.
    """
    penalty = singles.sum(kl_per_token(singles, kl))
    terms = {"loss": Term(-_positive(singles) * singles.seq_logps), "kl": Term(kl_beta * penalty)}
    return terms, {**_advantageous(singles), "kl": penalty}


def _positive(singles: Singles) -> Tensor:
    return singles.advantage.clamp(min=0)


def _clamped(ratio: Tensor, clip: float | None) -> Tensor:
    return ratio if clip is None else ratio.clamp(1 - clip, 1 + clip)


def _rewarded(singles: Singles) -> dict[str, Tensor]:
    return {"rewards": singles.reward, "logps": singles.seq_logps}


def _advantageous(singles: Singles) -> dict[str, Tensor]:
    advantages = singles.advantage
    used = (advantages > 0).to(advantages.dtype)
    return {**_rewarded(singles), "advantages": advantages, "advantages/positive": used}


def _weighted(singles: Singles, weight: Tensor) -> dict[str, Tensor]:
    return {"weights": weight, "log_ratios": singles.log_ratio}
