"""Oracles of objectives on pairs, each from its paper's formula."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.oracles.loops import (
    Oracles,
    log_ratio,
    log_sigmoid,
    mean_logp,
    over_pairs,
    pairs_of,
    sigmoid,
    total,
    total_logp,
    total_ref_logp,
)


@over_pairs
def dpo(batch, w, lo, c):
    """Rafailov et al. 2023, eq. 7."""
    return -torch.log(sigmoid(c["beta"] * log_ratio(batch, w) - c["beta"] * log_ratio(batch, lo)))


@over_pairs
def dpo_family(batch, w, lo, c):
    """f-DPO with smoothed labels: Wang et al. 2023, table 1; Mitchell 2023."""
    u_w, u_l = torch.exp(log_ratio(batch, w)), torch.exp(log_ratio(batch, lo))
    slope = {
        "reverse_kl": lambda u: torch.log(u) + 1,
        "forward_kl": lambda u: -1 / u,
        "js": lambda u: torch.log(2 * u / (1 + u)),
        "alpha": lambda u: (1 - u ** (-c["alpha"])) / c["alpha"],
    }[c["divergence"]]
    h = c["beta"] * (slope(u_w) - slope(u_l))
    return -(1 - c["label_smoothing"]) * log_sigmoid(h) - c["label_smoothing"] * log_sigmoid(-h)


@over_pairs
def dpo_scores(batch, w, lo, c):
    """DPO on log-likelihoods alone, on means per token, or with a margin asked for: Amini et al. 2024."""

    def score(response):
        total_score = total_logp(batch, response) if c["reference_free"] else log_ratio(batch, response)
        return total_score / int(batch.lengths[response]) if c["length_normalized"] else total_score

    offset = float(batch.responses["margin"][w]) if c["margin"] else 0.0
    return -log_sigmoid(c["beta"] * (score(w) - score(lo)) - offset)


@over_pairs
def ipo(batch, w, lo, c):
    r_w, r_l = log_ratio(batch, w), log_ratio(batch, lo)
    if c["length_normalized"]:
        r_w, r_l = r_w / int(batch.lengths[w]), r_l / int(batch.lengths[lo])
    return (r_w - r_l - 0.5 / c["tau"]) ** 2


@over_pairs
def robust_dpo(batch, w, lo, c):
    h, e = c["beta"] * (log_ratio(batch, w) - log_ratio(batch, lo)), c["label_smoothing"]
    return ((1 - e) * -log_sigmoid(h) - e * -log_sigmoid(-h)) / (1 - 2 * e)


@over_pairs
def exo(batch, w, lo, c):
    """KL(p_θ ‖ p_data) of the two-way preference."""
    r_w, r_l = c["beta"] * log_ratio(batch, w), c["beta"] * log_ratio(batch, lo)
    p = torch.exp(r_w) / (torch.exp(r_w) + torch.exp(r_l))
    q = 1 - c["label_smoothing"]
    return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))


@over_pairs
def nca(batch, w, lo, c):
    r_w, r_l = c["beta"] * log_ratio(batch, w), c["beta"] * log_ratio(batch, lo)
    return -log_sigmoid(r_w) - sum(log_sigmoid(-r) for r in (r_w, r_l)) / 2


@over_pairs
def sppo(batch, w, lo, c):
    eta = 1 / c["beta"]
    return (log_ratio(batch, w) - eta * (1 - 0.5)) ** 2 + (log_ratio(batch, lo) - eta * (0 - 0.5)) ** 2


@over_pairs
def apo_zero(batch, w, lo, c):
    return 1 - sigmoid(c["beta"] * log_ratio(batch, w)) + sigmoid(c["beta"] * log_ratio(batch, lo))


@over_pairs
def apo_down(batch, w, lo, c):
    r_w, r_l = c["beta"] * log_ratio(batch, w), c["beta"] * log_ratio(batch, lo)
    return sigmoid(r_w) + 1 - sigmoid(r_w - r_l)


@over_pairs
def discopop(batch, w, lo, c):
    rho = c["beta"] * (log_ratio(batch, w) - log_ratio(batch, lo))
    blend = sigmoid(rho / c["temperature"])
    return (1 - blend) * torch.log(1 + torch.exp(-rho)) + blend * torch.exp(-rho)


@over_pairs
def hinge(batch, w, lo, c):
    h = c["beta"] * (log_ratio(batch, w) - log_ratio(batch, lo))
    return torch.maximum(1 - h, torch.zeros_like(h))


@over_pairs
def slic(batch, w, lo, c):
    s_w, s_l = total_logp(batch, w), total_logp(batch, lo)
    return torch.maximum(c["delta"] - s_w + s_l, torch.zeros_like(s_w)) - c["nll_weight"] * s_w


@over_pairs
def simpo(batch, w, lo, c):
    gamma = c["gamma_beta_ratio"] * c["beta"]
    return -log_sigmoid(c["beta"] * mean_logp(batch, w) - c["beta"] * mean_logp(batch, lo) - gamma)


@over_pairs
def cpo(batch, w, lo, c):
    apart = total_logp(batch, w) - total_logp(batch, lo)
    return -log_sigmoid(c["beta"] * apart) - c["nll_weight"] * mean_logp(batch, w)


@over_pairs
def orpo(batch, w, lo, c):
    p_w, p_l = torch.exp(mean_logp(batch, w)), torch.exp(mean_logp(batch, lo))
    ratio = (p_w / (1 - p_w)) / (p_l / (1 - p_l))
    return -torch.log(p_w) - c["odds_weight"] * log_sigmoid(torch.log(ratio))


def aot(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Melnyk et al. 2024: quantile against quantile."""
    pairs = pairs_of(batch)
    if c["paired"]:
        upper = [total_logp(batch, w) - total_logp(batch, lo) for w, lo in pairs]
        lower = [total_ref_logp(batch, w) - total_ref_logp(batch, lo) for w, lo in pairs]
    else:
        upper, lower = [log_ratio(batch, w) for w, _ in pairs], [log_ratio(batch, lo) for _, lo in pairs]
    losses = []
    for high, low in zip(*(sorted(side, key=lambda x: x.item()) for side in (upper, lower)), strict=True):
        d, e = c["beta"] * (high - low), c["label_smoothing"]
        losses.append(-(1 - e) * log_sigmoid(d) - e * log_sigmoid(-d))
    return total(losses) / len(pairs)


def bco_pair(batch: Batch, stats: dict, c: dict) -> Tensor:
    """Jung et al. 2024: the shift is the mean reward over all steps: `earlier` and this one."""
    met = []
    for step in [*stats.get("earlier", []), batch]:
        met += [c["beta"] * log_ratio(step, response).item() for pair in pairs_of(step) for response in pair]
    shift = sum(met) / len(met)
    losses = []
    for w, lo in pairs_of(batch):
        r_w, r_l = c["beta"] * log_ratio(batch, w), c["beta"] * log_ratio(batch, lo)
        losses.append(-log_sigmoid(r_w - shift) - log_sigmoid(-(r_l - shift)))
    return total(losses) / len(losses)


SCORES = {"beta": 0.3, "reference_free": False, "length_normalized": False, "margin": False}
DPO = {"beta": 0.3, "label_smoothing": 0.0, "divergence": "reverse_kl", "alpha": 0.5}

ORACLES: Oracles = {
    "dpo": (dpo, [{"beta": 0.1}, {"beta": 2.0}]),
    "dpo with options": (
        dpo_family,
        [
            {**DPO, "label_smoothing": 0.2},
            {**DPO, "divergence": "forward_kl"},
            {**DPO, "divergence": "js", "label_smoothing": 0.1},
            {**DPO, "divergence": "alpha", "alpha": 0.7},
        ],
    ),
    "dpo on other scores": (
        dpo_scores,
        [
            {**SCORES, "reference_free": True},
            {**SCORES, "length_normalized": True},
            {**SCORES, "reference_free": True, "length_normalized": True, "margin": True},
            {**SCORES, "margin": True},
        ],
    ),
    "bco_pair": (bco_pair, [{"beta": 0.1}, {"beta": 1.0}]),
    "ipo": (ipo, [{"tau": 0.1, "length_normalized": True}, {"tau": 0.5, "length_normalized": False}]),
    "robust_dpo": (robust_dpo, [{"beta": 0.1, "label_smoothing": 0.1}, {"beta": 1.0, "label_smoothing": 0.4}]),
    "exo": (exo, [{"beta": 0.1, "label_smoothing": 1e-3}, {"beta": 1.0, "label_smoothing": 0.3}]),
    "nca": (nca, [{"beta": 0.1}, {"beta": 1.0}]),
    "sppo": (sppo, [{"beta": 0.001}, {"beta": 0.5}]),
    "apo_zero": (apo_zero, [{"beta": 0.1}, {"beta": 1.0}]),
    "apo_down": (apo_down, [{"beta": 0.1}, {"beta": 1.0}]),
    "discopop": (discopop, [{"beta": 0.05, "temperature": 0.05}, {"beta": 0.5, "temperature": 1.0}]),
    "hinge": (hinge, [{"beta": 0.05}, {"beta": 0.6}]),
    "slic": (slic, [{"delta": 1.0, "nll_weight": 0.1}, {"delta": 5.0, "nll_weight": 1.0}]),
    "simpo": (simpo, [{"beta": 10.0, "gamma_beta_ratio": 0.3}, {"beta": 2.0, "gamma_beta_ratio": 0.0}]),
    "cpo": (cpo, [{"beta": 0.1, "nll_weight": 1.0}, {"beta": 1.0, "nll_weight": 0.0}]),
    "orpo": (orpo, [{"odds_weight": 0.1}, {"odds_weight": 1.0}]),
    "aot": (
        aot,
        [
            {"beta": 0.1, "label_smoothing": 0.0, "paired": False},
            {"beta": 1.0, "label_smoothing": 0.2, "paired": True},
        ],
    ),
}
