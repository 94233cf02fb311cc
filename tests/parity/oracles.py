"""Oracles: each objective again, from its paper's formula, as plain loops over examples and tokens in float64.

Written independently of `heedful.objectives`: nothing here sums segments, selects rows or shares a helper with it.
An oracle gives one loss for the batch, as the paper averages it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from heedful.objectives.views import Batch
from tests.objectives.batches import groups, rows


def log_ratio(batch: Batch, response: int) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for logp, ref in zip(rows(batch, "logps")[response], rows(batch, "ref_logps")[response], strict=True):
        total = total + logp - ref
    return total


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1.0 / (1.0 + torch.exp(-x))


def pairs_of(batch: Batch) -> list[tuple[int, int]]:
    found = []
    for members in groups(batch):
        chosen = [r for r in members if batch.responses["chosen"][r] == 1]
        rejected = [r for r in members if batch.responses["chosen"][r] == 0]
        found.append((chosen[0], rejected[0]))
    return found


def sft(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Mean cross-entropy of the trained tokens."""
    tokens = [logp for response in rows(batch, "logps") for logp in response]
    return -sum(tokens) / len(tokens)


def dpo(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Rafailov et al. 2023, eq. 7."""
    total = 0.0
    for chosen, rejected in pairs_of(batch):
        inside = settings["beta"] * log_ratio(batch, chosen) - settings["beta"] * log_ratio(batch, rejected)
        total = total - torch.log(sigmoid(inside))
    return total / len(pairs_of(batch))


def kto(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Ethayarajh et al. 2024, eq. 8: λ_y - v(x, y)."""
    z = max(float(stats["z"]), 0.0)
    total = 0.0
    for response in range(len(batch.lengths)):
        reward = log_ratio(batch, response)
        if batch.responses["desirable"][response] == 1:
            weight, value = settings["desirable_weight"], sigmoid(settings["beta"] * (reward - z))
        else:
            weight, value = settings["undesirable_weight"], sigmoid(settings["beta"] * (z - reward))
        total = total + weight - weight * value
    return total / len(batch.lengths)


def reward(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
    """Ouyang et al. 2022, eq. 1, with the margin of Touvron et al. 2023 and the centring of Eisenstein et al. 2023."""
    total = 0.0
    for chosen, rejected in pairs_of(batch):
        good, bad = batch.responses["scores"][chosen], batch.responses["scores"][rejected]
        margin = batch.responses["margin"][chosen] if settings["margin"] else 0.0
        total = total - torch.log(sigmoid(good - bad - margin)) + settings["centring"] * (good + bad) ** 2
    return total / len(pairs_of(batch))


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return torch.log(sigmoid(x))


def total_logp(batch: Batch, response: int) -> torch.Tensor:
    return sum(rows(batch, "logps")[response], torch.zeros((), dtype=torch.float64))


def mean_logp(batch: Batch, response: int) -> torch.Tensor:
    return total_logp(batch, response) / len(rows(batch, "logps")[response])


def over_pairs(loss: Callable[[Batch, int, int, dict], torch.Tensor]) -> Callable[[Batch, dict, dict], torch.Tensor]:
    """An oracle that is the mean of one formula over pairs."""

    def oracle(batch: Batch, stats: dict, settings: dict) -> torch.Tensor:
        losses = [loss(batch, chosen, rejected, settings) for chosen, rejected in pairs_of(batch)]
        return sum(losses) / len(losses)

    return oracle


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


def aot(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    """Melnyk et al. 2024: quantile against quantile."""
    pairs = pairs_of(batch)
    if c["paired"]:
        upper = [total_logp(batch, w) - total_logp(batch, lo) for w, lo in pairs]
        ref = rows(batch, "ref_logps")
        lower = [sum(ref[w]) - sum(ref[lo]) for w, lo in pairs]
    else:
        upper, lower = [log_ratio(batch, w) for w, _ in pairs], [log_ratio(batch, lo) for _, lo in pairs]
    total = 0.0
    for high, low in zip(sorted(upper, key=float), sorted(lower, key=float), strict=True):
        d, e = c["beta"] * (high - low), c["label_smoothing"]
        total = total - (1 - e) * log_sigmoid(d) - e * log_sigmoid(-d)
    return total / len(pairs)


def desirable(batch: Batch, response: int) -> bool:
    return bool(batch.responses["desirable"][response] == 1)


def kto_logsigmoid(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    z, total = max(float(stats["z"]), 0.0), 0.0
    for response in range(len(batch.lengths)):
        r = log_ratio(batch, response)
        if desirable(batch, response):
            total = total - c["desirable_weight"] * log_sigmoid(c["beta"] * (r - z))
        else:
            total = total - c["undesirable_weight"] * log_sigmoid(c["beta"] * (z - r))
    return total / len(batch.lengths)


def kto_zero(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    return kto(batch, {"z": 0.0}, c)


def kto_simple(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    ratios = {True: [], False: []}
    for response in range(len(batch.lengths)):
        ratios[desirable(batch, response)].append(log_ratio(batch, response))
    points = {}
    for side, values in ratios.items():
        mean = sum(values) / len(values)
        points[side] = mean if mean > 0 else torch.zeros_like(mean)
    total = sum(1 - sigmoid(c["beta"] * (r - points[False])) for r in ratios[True])
    total = total + sum(1 - sigmoid(c["beta"] * (points[True] - r)) for r in ratios[False])
    return total / len(batch.lengths)


def ranking(batch: Batch, members: list[int]) -> list[tuple[int, list[int]]]:
    """(response, those ranked below it) for the responses of a prompt."""
    rank = batch.responses["rank"]
    return [(i, [j for j in members if rank[j] > rank[i]]) for i in members]


def plackett_luce(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    total = 0.0
    for members in groups(batch):
        for i, below in ranking(batch, members):
            strength = {k: torch.exp(c["beta"] * log_ratio(batch, k)) for k in [i, *below]}
            total = total - torch.log(strength[i] / sum(strength.values()))
    return total / len(groups(batch))


def pro(batch: Batch, stats: dict, c: dict) -> torch.Tensor:
    """Song et al. 2023, with the temperatures of eq. 7."""
    total, score = 0.0, batch.responses["reward"]
    for members in groups(batch):
        for i, below in ranking(batch, members):
            if below:
                gaps = {j: score[i] - score[j] for j in below}
                top = torch.exp(mean_logp(batch, i) * max(gaps.values()))
                rest = sum(torch.exp(mean_logp(batch, j) * gap) for j, gap in gaps.items())
                total = total - torch.log(top / (top + rest))
        best = [k for k in members if batch.responses["rank"][k] == 1]
        imitation = -sum(total_logp(batch, k) for k in best) / len(best)
        total = total + c["sft_weight"] * (len(members) - 1) ** 2 * imitation
    return total / len(groups(batch))


DPO = {"beta": 0.3, "label_smoothing": 0.0, "divergence": "reverse_kl", "alpha": 0.5}
WEIGHTED = {"beta": 0.7, "desirable_weight": 1.33, "undesirable_weight": 0.5}

ORACLES: dict[str, tuple[Callable[[Batch, dict, dict], torch.Tensor], list[dict[str, Any]]]] = {
    "sft": (sft, [{}]),
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
    "kto_logsigmoid": (kto_logsigmoid, [WEIGHTED]),
    "kto_zero": (kto_zero, [WEIGHTED]),
    "kto_simple": (kto_simple, [{"beta": 0.1}, {"beta": 1.0}]),
    "plackett_luce": (plackett_luce, [{"beta": 0.1}, {"beta": 1.0}]),
    "pro": (pro, [{"sft_weight": 0.05}, {"sft_weight": 0.0}]),
    "kto": (
        kto,
        [
            {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
            {"beta": 0.7, "desirable_weight": 1.33, "undesirable_weight": 0.5},
        ],
    ),
    "reward": (reward, [{"margin": False, "centring": 0.0}, {"margin": True, "centring": 0.05}]),
}
