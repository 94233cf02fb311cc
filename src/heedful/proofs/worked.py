"""Values of objectives worked out by hand; the arithmetic stands in the comments."""

from __future__ import annotations

from typing import Any

import torch

from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective
from heedful.objectives.views import Batch
from heedful.proofs.batches import cast
from heedful.proofs.verdict import EXACT, Arithmetic, Verdict, difference, largest, measured, worst

Z = 0.5
"""The reference point, nats."""

DIGITS = 2e-6
"""Values are worked out to six digits."""


def worked_batch(logps: list[float], ref_logps: list[float], lengths: list[int], **columns: list[float]) -> Batch:
    """Responses two a prompt, with these columns per response, in float64."""
    double = torch.float64
    return Batch(
        torch.tensor(lengths),
        torch.arange(len(lengths)) // 2,
        {"logps": torch.tensor(logps, dtype=double), "ref_logps": torch.tensor(ref_logps, dtype=double)},
        {name: torch.tensor(values, dtype=double) for name, values in columns.items()},
    )


PAIR = worked_batch(
    [-1.0, -2.0, -0.5],
    [-1.5, -2.5, -0.25],
    [2, 1],
    chosen=[1.0, 0.0],
    desirable=[1.0, 0.0],
    rank=[1.0, 2.0],
    reward=[2.0, 0.5],
    scores=[2.0, 0.5],
    margin=[0.5, 0.5],
)
"""A chosen response of two tokens and a rejected one of one.

r_w = (-1 + 1½) + (-2 + 2½) = 1, r_l = -½ + ¼ = -¼, h = r_w - r_l = 1¼;  S_w = -3, S_l = -½;
m_w = -1½ (two tokens), m_l = -½.  σ(1¼) = 0.777300.
"""

WORKED: list[tuple[str, dict[str, Any], dict[str, list[float]]]] = [
    # -(-1), -(-2), -(-0.5)
    ("sft", {}, {"loss": [1.0, 2.0, 0.5]}),
    # log(1 + e^-0.625) = log(1.535261)
    ("dpo", {"beta": 0.5}, {"loss": [0.428701]}),
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
    ("aot", {"beta": 0.5}, {"loss": [0.428701]}),
    # 2·(1 - σ(1 - ½)) = 2·0.377541, and 3·(1 - σ(½ + ¼)) = 3·0.320821
    (
        "kto",
        {"beta": 1.0, "desirable_weight": 2.0, "undesirable_weight": 3.0},
        {"loss": [0.755081, 0.962464]},
    ),
    # σ(-1), and σ(-0.25)
    ("kto_zero", {"beta": 1.0}, {"loss": [0.268941, 0.437823]}),
    # log(1 + e^-0.5), and log(1 + e^-0.75)
    ("kto_logsigmoid", {"beta": 1.0}, {"loss": [0.474077, 0.386871]}),
    # points: max(0, 1) of the desirable, max(0, -0.25) of the undesirable.  1 - σ(1 - 0), 1 - σ(1 + 0.25)
    ("kto_simple", {"beta": 1.0}, {"loss": [0.268941, 0.222700]}),
    # two responses: dpo
    ("plackett_luce", {"beta": 0.5}, {"loss": [0.428701]}),
    # T = 1.5: log(e^-2.25 + e^-0.75) + 2.25 = log(1 + e^1.5); 0.05·1²·3
    ("pro", {"sft_weight": 0.05}, {"loss": [1.701413], "sft": [0.15]}),
    # scores 2 and ½ are 1½ apart, the margin asks for ½: log(1 + e^-1), and 0.1·(2 + ½)²
    ("reward", {"margin": True, "centring": 0.1}, {"loss": [0.313262], "centring": [0.625]}),
    # log(1 + e^-1.5)
    ("reward", {}, {"loss": [0.201413]}),
]


def hand_value(name: str, arithmetic: Arithmetic = EXACT) -> Verdict:
    """The registered objective's terms against every value worked out for it."""
    return worst([_compared(*case, arithmetic) for case in WORKED if case[0] == name])


def _compared(name: str, settings: dict[str, Any], expected: dict[str, list[float]], arithmetic: Arithmetic) -> Verdict:
    objective = Objective(name, REGISTRY[name], settings)
    batch = cast(PAIR, arithmetic.dtype, arithmetic.device)
    stats = {key: torch.tensor(Z, dtype=arithmetic.dtype, device=arithmetic.device) for key in objective.statistics}
    terms = objective(batch, stats).terms
    tolerance = max(DIGITS, arithmetic.objective_tolerance)
    if terms.keys() != expected.keys():
        return Verdict(problem=f"its terms are {', '.join(terms)}, and by hand {', '.join(expected)}")
    found = {term: difference(terms[term].values, torch.tensor(values)) for term, values in expected.items()}
    furthest = max(found, key=lambda term: found[term])
    return measured(
        largest(found.values()),
        tolerance,
        f"its term {furthest!r} is {[round(v, 6) for v in terms[furthest].values.tolist()]} at {settings}, and by hand "
        f"{expected[furthest]}",
    )
