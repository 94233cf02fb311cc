"""Objectives on preference pairs.  Axes: `P` pairs.

r_w, r_l are log-ratios log π(y|x)/π_ref(y|x) of the chosen and the rejected response, summed over their tokens, and
h = r_w - r_l is the margin; S_w, S_l are log π(y|x) alone, and m_w, m_l its mean over the response's tokens.  Nats.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from jaxtyping import Float
from torch import Tensor

from heedful.maths import bounded_exp, updated_mean, wide
from heedful.objectives.reduce import Term, whole_step
from heedful.objectives.settings import FlipRate, NonNegative, Positive
from heedful.objectives.views import Pairs, Singles
from heedful.types import UserError

Loss = tuple[Float[Tensor, " P"], dict[str, Tensor]]
Terms = tuple[dict[str, Term], dict[str, Tensor]]
Stateful = tuple[Float[Tensor, " P"], dict[str, Tensor], dict[str, Tensor]]


def implicit_rewards(pairs: Pairs, beta: float) -> dict[str, Tensor]:
    """What preference learning is watched by: implicit rewards β·log(π/π_ref), their margins, how often chosen wins."""
    return _watched(pairs, beta * pairs.chosen.log_ratio, beta * pairs.rejected.log_ratio)


def _watched(pairs: Pairs, chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
        "logps/chosen": pairs.chosen.seq_logps,
        "logps/rejected": pairs.rejected.seq_logps,
    }


def dpo(
    pairs: Pairs,
    *,
    beta: Positive = 0.1,
    label_smoothing: FlipRate = 0.0,
    reference_free: bool = False,
    length_normalized: bool = False,
    margin: bool = False,
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "reverse_kl",
    alpha: Positive = 0.5,
) -> Loss:
    """Direct preference optimisation: -log σ(β·h), in nats.  Rafailov et al. 2023, eq. 7, arXiv:2305.18290.

    With label smoothing ε: -(1-ε)·log σ(βh) - ε·log σ(-βh) (cDPO; Mitchell 2023).  With another divergence than the
    reverse KL, h = f'(u_w) - f'(u_l) for u = π/π_ref (Wang et al. 2023, table 1, arXiv:2309.16240):
    forward KL f' = -1/u, Jensen-Shannon f' = log(2u/(1+u)), α-divergence f' = (1 - u^-α)/α.

    beta: how strongly the policy is held to the reference; larger stays closer.  Typically 0.05-0.5.
    label_smoothing: share of pairs believed to be labelled the wrong way round; larger trusts labels less.  Below 0.5.
    reference_free: compare log π alone, as if the reference found all responses alike: h = S_w - S_l.  Nothing holds
        the policy to where it started, and no reference is computed.
    length_normalized: divide each response's sum by its tokens, so that length alone earns nothing; β then wants to be
        some ten times larger.
    margin: ask for the data's own margin m of each pair, -log σ(βh - m), 0 where it gives none (Amini et al. 2024,
        arXiv:2402.10571); without it m = 0.
    divergence: what distance to the reference is bounded; all but the reverse KL hold probable responses harder.
        They are of whole responses' ratios, so neither reference_free nor length_normalized goes with them.
    alpha: order of the α-divergence; towards 0 it is the reverse KL, 1 is the forward KL.
    """
    if divergence != "reverse_kl" and (reference_free or length_normalized):
        odd = "reference_free" if reference_free else "length_normalized"
        raise UserError(f"divergence={divergence} is of ratios to a reference; {odd} goes with reverse_kl only.")
    r_w, r_l = (_log_ratio(side, length_normalized, reference_free) for side in (pairs.chosen, pairs.rejected))
    h = r_w - r_l if divergence == "reverse_kl" else _slope(r_w, divergence, alpha) - _slope(r_l, divergence, alpha)
    logits = beta * h - pairs.asked_margin if margin else beta * h
    values = -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)
    return values, _watched(pairs, beta * r_w, beta * r_l)


def _log_ratio(side: Singles, length_normalized: bool, reference_free: bool = False) -> Tensor:
    """log π/π_ref of each response, or log π alone; its mean per token if it is to be normalised."""
    total = side.seq_logps if reference_free else side.log_ratio
    return total / side.lengths.clamp(min=1) if length_normalized else total


def _slope(log_ratio: Tensor, divergence: str, alpha: float) -> Tensor:
    """f'(u) of an f-divergence at u = e^log_ratio."""
    if divergence == "js":
        return math.log(2) + log_ratio - F.softplus(log_ratio)
    order = 1.0 if divergence == "forward_kl" else alpha
    # forward KL: -1/u;  α: (1 - u^-α)/α.  They differ by a constant at α = 1, which the difference of two cancels.
    return -bounded_exp(-order * log_ratio) / order


def ipo(pairs: Pairs, *, tau: Positive = 0.1, length_normalized: bool = True) -> Loss:
    """Identity preference optimisation: (h - 1/(2τ))².  Azar et al. 2023, eq. 17, arXiv:2310.12036.

    h is the difference of log-ratios per token (a deviation from the paper's sums that practice has adopted).  The
    published code divides by the number of *non-zero* log-ratios, which is 0/0 at the first step; here by tokens.

    tau: strength of the pull to the reference; larger asks for a smaller margin, 1/(2τ), and stays closer.
    length_normalized: false takes the paper's sums over tokens.
    """
    r_w, r_l = (_log_ratio(side, length_normalized) for side in (pairs.chosen, pairs.rejected))
    return (r_w - r_l - 1 / (2 * tau)) ** 2, _watched(pairs, tau * r_w, tau * r_l)


def robust_dpo(pairs: Pairs, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.1) -> Loss:
    """DPO made unbiased under flipped labels: (-(1-ε)·log σ(βh) + ε·log σ(-βh)) / (1 - 2ε).

    The labels are flipped at a known rate ε.  Chowdhury et al. 2024, eq. 12, arXiv:2403.00409.

    beta: as in dpo; larger stays closer to the reference.
    label_smoothing: ε, the rate of flipped labels, below 0.5; larger corrects more and raises the variance.
    """
    h = beta * pairs.margin
    values = (-(1 - label_smoothing) * F.logsigmoid(h) + label_smoothing * F.logsigmoid(-h)) / (1 - 2 * label_smoothing)
    return values, implicit_rewards(pairs, beta)


def exo(pairs: Pairs, *, beta: Positive = 0.1, label_smoothing: Annotated[float, Gt(0), Lt(0.5)] = 1e-3) -> Loss:
    """Exact preference optimisation on pairs: p·log(p/(1-ε)) + (1-p)·log((1-p)/ε), p = σ(βh).

    KL from the policy's preference to the label's.  Ji et al. 2024, eq. 15, arXiv:2402.00856.

    beta: as in dpo; larger stays closer to the reference.
    label_smoothing: ε, above 0; smaller asks for more certainty, without bound as it goes to 0.
    """
    h = beta * pairs.margin
    win, lose = F.logsigmoid(h), F.logsigmoid(-h)
    values = win.exp() * (win - math.log1p(-label_smoothing)) + lose.exp() * (lose - math.log(label_smoothing))
    return values, implicit_rewards(pairs, beta)


def nca(pairs: Pairs, *, beta: Positive = 0.1) -> Loss:
    """Noise-contrastive alignment on pairs: -log σ(βr_w) - ½·log σ(-βr_w) - ½·log σ(-βr_l).

    Keeps the chosen's own likelihood from falling.  Chen et al. 2024, eq. 11, arXiv:2402.05369.

    beta: scale of the implicit reward; larger stays closer to the reference.
    """
    r_w, r_l = beta * pairs.chosen.log_ratio, beta * pairs.rejected.log_ratio
    values = -F.logsigmoid(r_w) - 0.5 * F.logsigmoid(-r_w) - 0.5 * F.logsigmoid(-r_l)
    return values, implicit_rewards(pairs, beta)


def sppo(pairs: Pairs, *, beta: Positive = 0.001) -> Loss:
    """Self-play preference optimisation with certain labels: (r_w - 1/(2β))² + (r_l + 1/(2β))².

    Wu et al. 2024, eq. 4.7 with P(y_w ≻ y_l) = 1, arXiv:2405.00675.

    beta: 1/η of the paper; larger asks for a smaller move from the reference.
    """
    target = 1 / (2 * beta)
    values = (pairs.chosen.log_ratio - target) ** 2 + (pairs.rejected.log_ratio + target) ** 2
    return values, implicit_rewards(pairs, beta)


def apo_zero(pairs: Pairs, *, beta: Positive = 0.1) -> Loss:
    """Anchored preference optimisation, zero: 1 - σ(βr_w) + σ(βr_l).  D'Oosterlinck et al. 2024, arXiv:2408.06266.

    Raises the chosen and lowers the rejected; for data better than the model.

    beta: scale of the implicit reward; larger saturates sooner and stays closer to the reference.
    """
    r_w, r_l = beta * pairs.chosen.log_ratio, beta * pairs.rejected.log_ratio
    return torch.sigmoid(-r_w) + torch.sigmoid(r_l), implicit_rewards(pairs, beta)


def apo_down(pairs: Pairs, *, beta: Positive = 0.1) -> Loss:
    """Anchored preference optimisation, down: σ(βr_w) + 1 - σ(βh).  D'Oosterlinck et al. 2024, arXiv:2408.06266.

    Lowers both, the rejected more; for data worse than the model.

    beta: scale of the implicit reward; larger saturates sooner and stays closer to the reference.
    """
    r_w, h = beta * pairs.chosen.log_ratio, beta * pairs.margin
    return torch.sigmoid(r_w) + torch.sigmoid(-h), implicit_rewards(pairs, beta)


def discopop(pairs: Pairs, *, beta: Positive = 0.05, temperature: Positive = 0.05) -> Loss:
    """Discovered preference optimisation: -(1-w)·log σ(ρ) + w·e^-ρ, w = σ(ρ/τ), ρ = βh.

    The log-ratio modulated loss of Lu et al. 2024, eq. 5, arXiv:2406.08414.

    beta: scale of the margin; larger stays closer to the reference.
    temperature: τ, how sharply the logistic loss gives way to the exponential one around a margin of 0.
    """
    rho = beta * pairs.margin
    exponential = torch.exp(F.logsigmoid(rho / temperature) - rho)
    return -torch.sigmoid(-rho / temperature) * F.logsigmoid(rho) + exponential, implicit_rewards(pairs, beta)


def hinge(pairs: Pairs, *, beta: Positive = 0.05) -> Loss:
    """Hinge loss on the normalised margin (RSO): max(0, 1 - βh).  Liu et al. 2023, eq. 11, arXiv:2309.06657.

    beta: inverse of the margin asked for, 1/β nats; larger asks for less.
    """
    return F.relu(1 - beta * pairs.margin), implicit_rewards(pairs, beta)


def slic(pairs: Pairs, *, delta: Positive = 1.0, nll_weight: NonNegative = 0.1) -> Terms:
    """Sequence likelihood calibration: max(0, δ - S_w + S_l) + λ·(-S_w).  Zhao et al. 2023, eq. 1, arXiv:2305.10425.

    No reference.  The published code adds the regulariser token by token, which does not fit the first term's shape.

    delta: margin asked of log-likelihoods, nats; larger pushes further apart.
    nll_weight: λ; larger stays closer to imitating the chosen.
    """
    s_w, s_l = pairs.chosen.seq_logps, pairs.rejected.seq_logps
    terms = {"loss": Term(F.relu(delta - s_w + s_l)), "nll": Term(-nll_weight * s_w)}
    return terms, _watched(pairs, s_w, s_l)


def simpo(pairs: Pairs, *, beta: Positive = 10.0, gamma_beta_ratio: NonNegative = 0.3) -> Loss:
    """Simple preference optimisation: -log σ(β(m_w - m_l - γ/β)).  Meng et al. 2024, eq. 6, arXiv:2405.14734.

    No reference; log-probabilities are means per token.

    beta: scale; larger sharpens.  Typically 2-10.
    gamma_beta_ratio: margin asked for, nats per token; larger pushes further apart.  Typically 0.3-1.
    """
    m_w, m_l = pairs.chosen.mean_logps, pairs.rejected.mean_logps
    values = -F.logsigmoid(beta * (m_w - m_l - gamma_beta_ratio))
    return values, _watched(pairs, beta * m_w, beta * m_l)


def cpo(pairs: Pairs, *, beta: Positive = 0.1, nll_weight: NonNegative = 1.0) -> Terms:
    """Contrastive preference optimisation: -log σ(β(S_w - S_l)) - λ·m_w.  Xu et al. 2024, eq. 5, arXiv:2401.08417.

    DPO with a uniform reference, and the chosen's negative log-likelihood per token.

    beta: scale of the margin; larger saturates sooner.
    nll_weight: λ; larger stays closer to imitating the chosen.
    """
    s_w, s_l = pairs.chosen.seq_logps, pairs.rejected.seq_logps
    terms = {"loss": Term(-F.logsigmoid(beta * (s_w - s_l))), "nll": Term(-nll_weight * pairs.chosen.mean_logps)}
    return terms, _watched(pairs, beta * s_w, beta * s_l)


def orpo(pairs: Pairs, *, odds_weight: NonNegative = 0.1) -> Terms:
    """Odds-ratio preference optimisation: -m_w - λ·log σ(logit p_w - logit p_l), p = e^m.

    Hong et al. 2024, eq. 6-7, arXiv:2403.07691.  No reference; imitates the chosen and separates it in one stage.

    odds_weight: λ; larger separates more and imitates less.  Typically 0.1-0.5.
    """
    m_w, m_l = pairs.chosen.mean_logps, pairs.rejected.mean_logps
    log_odds = _log_odds(m_w) - _log_odds(m_l)
    terms = {"loss": Term(-m_w), "odds": Term(-odds_weight * F.logsigmoid(log_odds))}
    return terms, _watched(pairs, m_w, m_l)


def _log_odds(logp: Tensor) -> Tensor:
    """log p/(1-p) from log p, finite at p = 1."""
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return logp - torch.log(-torch.expm1(logp))


@whole_step
def aot(pairs: Pairs, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.0, paired: bool = False) -> Loss:
    """Alignment via optimal transport: -(1-ε)·log σ(βd) - ε·log σ(-βd), d between sorted log-ratios.

    The whole distribution of rewards is to dominate, not each pair.  d is the difference of sorted log-ratios of the
    chosen and sorted log-ratios of the rejected over the step or, paired, of sorted margins of the policy and sorted
    margins of the reference.  Melnyk et al. 2024, eq. 4-5, arXiv:2406.05882.

    beta: scale; larger stays closer to the reference.
    label_smoothing: as in dpo; larger trusts labels less.
    paired: compare margins within pairs instead of the two sets of responses.
    """
    if paired:
        upper = pairs.chosen.seq_logps - pairs.rejected.seq_logps
        lower = pairs.chosen.seq_ref_logps - pairs.rejected.seq_ref_logps
    else:
        upper, lower = pairs.chosen.log_ratio, pairs.rejected.log_ratio
    rank = upper.argsort().argsort()  # so that a pair's value stands at its own place, as its weight does
    d = beta * (upper - lower.sort().values[rank])
    values = -(1 - label_smoothing) * F.logsigmoid(d) - label_smoothing * F.logsigmoid(-d)
    return values, implicit_rewards(pairs, beta)


def bco_pair(pairs: Pairs, state: dict[str, Tensor], *, beta: Positive = 0.1) -> Stateful:
    """Binary classifier optimisation on pairs: -log σ(βr_w - δ) - log σ(δ - βr_l).

    δ is the mean of all implicit rewards βr met so far, this step's among them, and carries no gradient; it brings the
    classifier's loss as near to dpo's as a constant can.  Jung et al. 2024, arXiv:2404.04656.

    beta: scale of the implicit reward; larger stays closer to the reference.
    """
    r_w, r_l = beta * pairs.chosen.log_ratio, beta * pairs.rejected.log_ratio
    rewards = wide(torch.cat([r_w, r_l]).detach())
    state = updated_mean(state, rewards.sum(0, keepdim=True), rewards.new_tensor([float(rewards.numel())]))
    shift = state["mean"].to(r_w.dtype)
    values = -F.logsigmoid(r_w - shift) - F.logsigmoid(shift - r_l)
    return values, {**implicit_rewards(pairs, beta), "shift": shift}, state
