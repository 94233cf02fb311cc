"""Policy gradients with a clipped ratio, on responses that already exist.  Axes: `N` tokens, `B` responses.

ρ = π/π_ref of each token, against the reference: nobody sampled these responses from an older policy.  Of a token with
advantage A the loss is -min(A·ρ, A·clip(ρ, 1 - ε, 1 + ε)), which has no gradient once ρ has gone ε too far in the
direction A asks for.  Terms are means over all trained tokens of a step.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.maths import at_the_end, bounded_exp, discounted_sums, gae, group_advantages, k3, whiten
from heedful.objectives.kl import KLForm, kl_per_token
from heedful.objectives.reduce import Term, whole_step
from heedful.objectives.settings import Clip, NonNegative, Positive, Share
from heedful.objectives.views import Lists, Singles

Terms = tuple[dict[str, Term], dict[str, Tensor]]


@whole_step
def ppo_offline(
    singles: Singles,
    *,
    reward: Literal["labels", "column"] = "labels",
    gamma: Share = 0.99,
    gae_lambda: Share = 0.95,
    clip: Clip = 0.5,
    critic_weight: Positive = 0.01,
    kl: KLForm = "published",
    kl_beta: NonNegative = 0.1,
) -> Terms:
    """One step of proximal policy optimisation on given responses: -min(ρA, C(ρ)A) + β·KL; the critic's ½(V - G)².

    ρ = π/π_ref of a token, C(ρ) = ρ clamped to [1 - ε, 1 + ε], V from a value head.  The reward stands at a response's
    last token.  Advantages are GAE from the head's values, whitened over all tokens of the step; the head is trained
    towards the discounted rewards G_t by ½(V - G)².  Ethayarajh et al. 2024, arXiv:2402.01306, and Schulman et al.
    2017, eq. 7, arXiv:1707.06347.  The published code whitens each micro-batch.

    reward: `labels` rewards desirable responses with 1 and the others with -1; `column` takes the data's rewards.
    gamma: discount of a token later; smaller credits the last tokens more.  1 credits all alike.
    gae_lambda: smaller trusts the critic more: less variance, more bias.  1 trusts the rewards alone.
    clip: ε; larger lets the policy move further from the reference on the same data, null does not bound it.
    critic_weight: of the critic's term; its head learns apart, so under Adam this hardly matters.
    kl: the penalty of a token.  `published` is log π - log π_ref, whose gradient pushes every token of the data down
        alike; `k3` is π_ref/π - log(π_ref/π) - 1, which pulls back to the reference; `full` is KL(π‖π_ref) over the
        vocabulary and needs the reference beside the policy.
    kl_beta: weight of the penalty; larger stays closer to the reference, 0 leaves it out.
    """
    score = torch.where(singles.desirable, 1.0, -1.0).to(singles.logps) if reward == "labels" else singles.reward
    rewards, values = at_the_end(score, singles.lengths), singles.values
    advantages = gae(rewards, values.detach(), singles.lengths, gamma=gamma, gae_lambda=gae_lambda)
    returns = discounted_sums(rewards, singles.lengths, gamma)
    ratio = bounded_exp(singles.logps - singles.ref_logps)
    policy, metrics = _clipped(ratio, whiten(advantages), clip)
    terms = {
        "policy": policy,
        "critic": Term(critic_weight * 0.5 * (values - returns) ** 2, over="tokens", trainee="value_head"),
    }
    if kl_beta > 0:
        terms["kl"] = Term(kl_beta * kl_per_token(singles, kl), over="tokens")
    return terms, {**metrics, "rewards": score, "returns": returns, "values": values, "advantages": advantages}


def grpo_offline(lists: Lists, *, clip: Clip = 0.01, kl_beta: NonNegative = 0.01) -> Terms:
    """Group-relative policy optimisation on scored responses that already exist: -min(ρA, C(ρ)A) + β·KL.

    ρ = π/π_ref of a token, C(ρ) = ρ clamped to [1 - ε, 1 + ε].  A = (R - mean) / (std + 0.01) over all responses to the
    prompt, the same for each token of a response, and the k3 penalty β·(π_ref/π - log(π_ref/π) - 1).  Shao et al. 2024,
    eq. 3-4, arXiv:2402.03300, averaged over all tokens of the step; a prompt with equal rewards trains through the
    penalty alone.  The published code takes a group's mean and deviation over what a micro-batch holds of it.

    clip: ε; larger lets the policy move further from the reference on the same data, null does not bound it.
    kl_beta: β; larger stays closer to the reference, 0 leaves the penalty out.
    """
    singles = lists.singles
    advantages = group_advantages(singles.reward, lists.group_sizes, offset=0.01)
    ratio = bounded_exp(singles.logps - singles.ref_logps)
    policy, metrics = _clipped(ratio, advantages.repeat_interleave(singles.lengths), clip)
    terms = {"policy": policy}
    if kl_beta > 0:
        terms["kl"] = Term(kl_beta * k3(singles.logps, singles.ref_logps), over="tokens")
    return terms, {**metrics, "rewards": singles.reward, "advantages": advantages}


def _clipped(
    ratio: Float[Tensor, " N"], advantages: Float[Tensor, " N"], clip: float | None
) -> tuple[Term, dict[str, Tensor]]:
    """The clipped surrogate of each token, the ratios and whether they were clipped."""
    free = ratio * advantages
    bounded = free if clip is None else ratio.clamp(1 - clip, 1 + clip) * advantages
    held = (bounded < free).to(ratio.dtype)
    return Term(-torch.minimum(free, bounded), over="tokens"), {"ratios": ratio, "ratios/clipped": held}
