"""Oracles of offline reinforcement learning, each from its formula, token by token."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from heedful.objectives.views import Batch
from heedful.proofs.batches import rows
from heedful.proofs.oracles.loops import Oracle, Oracles, log_ratio, total, total_logp


def over_responses(loss: Callable[[Batch, int, dict], Tensor]) -> Oracle:
    """An oracle that is the mean of one formula over responses."""

    def oracle(batch: Batch, stats: dict, settings: dict) -> Tensor:
        losses = [loss(batch, response, settings) for response in range(len(batch.lengths))]
        return total(losses) / len(losses)

    return oracle


def given(batch: Batch, response: int, column: str = "reward") -> float:
    """What the data says of a response."""
    return float(batch.responses[column][response])


def advantage(batch: Batch, response: int) -> float:
    """How much more the response got than the reference is expected to, or nothing."""
    return max(given(batch, response) - given(batch, response, "value"), 0.0)


def importance(ratio: float, clip: float | None) -> float:
    """The ratio, kept within ε of 1."""
    return ratio if clip is None else min(max(ratio, 1 - clip), 1 + clip)


@over_responses
def nll(batch, i, c):
    return -total_logp(batch, i)


@over_responses
def wbc(batch, i, c):
    return -given(batch, i) * total_logp(batch, i)


@over_responses
def r_gold(batch, i, c):
    tokens = rows(batch, "logps")[i]
    return given(batch, i) * total(-logp * max(torch.exp(logp).item(), c["min_prob"]) for logp in tokens)


@over_responses
def r_lol(batch, i, c):
    return -given(batch, i) * importance(torch.exp(log_ratio(batch, i)).item(), c["clip"]) * total_logp(batch, i)


@over_responses
def a_lol(batch, i, c):
    return -advantage(batch, i) * importance(torch.exp(log_ratio(batch, i)).item(), c["clip"]) * total_logp(batch, i)


@over_responses
def a_lol_seq(batch, i, c):
    tokens = zip(rows(batch, "logps")[i], rows(batch, "ref_logps")[i], strict=True)
    nlls = [-logp * importance((torch.exp(logp) / torch.exp(ref)).item(), c["clip"]) for logp, ref in tokens]
    return advantage(batch, i) * total(nlls)


@over_responses
def a_lol_ref_free(batch, i, c):
    return -advantage(batch, i) * total_logp(batch, i)


@over_responses
def a_lol_kl(batch, i, c):
    penalty = {
        "published": lambda logp, ref, full: logp - ref,
        "k3": lambda logp, ref, full: torch.exp(ref) / torch.exp(logp) - (ref - logp) - 1,
        "full": lambda logp, ref, full: full,
    }[c["kl"]]
    tokens = zip(*(rows(batch, name)[i] for name in ("logps", "ref_logps", "kl")), strict=True)
    return -advantage(batch, i) * total_logp(batch, i) + c["kl_beta"] * total(penalty(*token) for token in tokens)


CLIPS = [{"clip": 0.9}, {"clip": 0.2}, {"clip": 0.0}, {"clip": None}]

ORACLES: Oracles = {
    "nll": (nll, [{}]),
    "wbc": (wbc, [{}]),
    "r_gold": (r_gold, [{"min_prob": 0.1}, {"min_prob": 0.6}]),
    "r_lol": (r_lol, CLIPS),
    "a_lol": (a_lol, CLIPS),
    "a_lol_seq": (a_lol_seq, CLIPS),
    "a_lol_ref_free": (a_lol_ref_free, [{}]),
    "a_lol_kl": (
        a_lol_kl,
        [{"kl": "published", "kl_beta": 0.1}, {"kl": "k3", "kl_beta": 0.5}, {"kl": "full", "kl_beta": 1.0}],
    ),
}
