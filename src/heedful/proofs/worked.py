"""Values of objectives worked out by hand; the arithmetic stands in the comments."""

from __future__ import annotations

from typing import Any

import torch

from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective
from heedful.objectives.views import TOKEN_COLUMNS, Batch
from heedful.proofs.batches import cast
from heedful.proofs.verdict import EXACT, Arithmetic, Verdict, difference, largest, measured, worst

Z = 0.5
"""The reference point, nats."""

DIGITS = 2e-6
"""Values are worked out to six digits."""


def worked_batch(logps: list[float], ref_logps: list[float], lengths: list[int], **columns: list[float]) -> Batch:
    """Responses two a prompt, in float64, with these columns: a number for each token or for each response."""
    named = {"logps": logps, "ref_logps": ref_logps, **columns}
    double = {name: torch.tensor(values, dtype=torch.float64) for name, values in named.items()}
    return Batch(
        torch.tensor(lengths),
        torch.arange(len(lengths)) // 2,
        {name: column for name, column in double.items() if name in TOKEN_COLUMNS},
        {name: column for name, column in double.items() if name not in TOKEN_COLUMNS},
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
    value=[1.0, 1.0],
    prompt_desirability=[0.75, 0.75],
    values=[0.5, 0.0, -0.5],
    kl=[0.3, 0.1, 0.2],
    token_scores=[0.5, 0.0, 1.0],
    foretold=[-0.5, -0.25, -0.75],
)
"""A chosen response of two tokens and a rejected one of one.

r_w = (-1 + 1½) + (-2 + 2½) = 1, r_l = -½ + ¼ = -¼, h = r_w - r_l = 1¼;  S_w = -3, S_l = -½;
m_w = -1½ (two tokens), m_l = -½.  σ(1¼) = 0.777300.  Rewards are 2 and ½, advantages 1 and -½.
Ratios π/π_ref are e = 2.718282 and e^-¼ = 0.778801 of the responses, and of the tokens e^½ = 1.648721 twice and e^-¼.
"""

WORKED: list[tuple[str, dict[str, Any], dict[str, list[float]]]] = [
    # -(-1), -(-2), -(-0.5)
    ("sft", {}, {"loss": [1.0, 2.0, 0.5]}),
    # log(1 + e^-0.625) = log(1.535261)
    ("dpo", {"beta": 0.5}, {"loss": [0.428701]}),
    # S_w - S_l = -2½: log(1 + e^1.25)
    ("dpo", {"beta": 0.5, "reference_free": True}, {"loss": [1.501929]}),
    # 1/2 + 1/4 per token, and 1¼ less the margin of ½: log(1 + e^-0.75) both times
    ("dpo", {"beta": 1.0, "length_normalized": True}, {"loss": [0.386871]}),
    ("dpo", {"beta": 1.0, "margin": True}, {"loss": [0.386871]}),
    # as sft, each response behind its control token
    ("csft", {}, {"loss": [1.0, 2.0, 0.5]}),
    # as sft, whatever the scores
    *((name, {}, {"loss": [1.0, 2.0, 0.5]}) for name in ("mle", "filtering", "conditional")),
    # scores up to ½ are aligned: 1, 2;  2·-log(1 - e^-½) = -2·log(0.393469)
    (
        "unlikelihood",
        {"threshold": 0.5, "alpha": 2.0},
        {"likelihood": [1.0, 2.0, 0.0], "unlikelihood": [0.0, 0.0, 1.865505]},
    ),
    # a = ½, 1, 0:  ½·1;  ½·-log(1 - e^-1) = -½·log(0.632121), and -log(0.393469)
    (
        "unlikelihood",
        {"threshold": None},
        {"likelihood": [0.5, 2.0, 0.0], "unlikelihood": [0.229338, 0.0, 0.932752]},
    ),
    # r = -½, 0, -1, v = -½, -¼, -¾: A = 0, ¼, -¼, and A/β = 0, ½, -½.  e^½ = 1.648721 is held at 1.5.
    # ½·1·1, ½·1.5·2, ½·0.606531·½;  ½·(0, ¼, ¼)²
    (
        "awr",
        {"alpha": 0.5, "beta": 0.5, "clip": 1.5},
        {"lm": [0.5, 1.5, 0.151633], "value": [0.0, 0.03125, 0.03125]},
    ),
    # deviation √((¼² + ¼²)/3) = 0.204124, so A = 0, ±1.224745: ½·1, ½·3.403297·2, ½·0.293833·½
    (
        "awr",
        {"normalize_advantages": True},
        {"lm": [0.5, 3.403297, 0.073458], "value": [0.0, 0.03125, 0.03125]},
    ),
    # (r + ½)/β = 0, 1, -1: 1·1, e·2, e^-1·½
    ("rwr", {"beta": 0.5, "baseline": -0.5}, {"lm": [1.0, 5.436564, 0.183940]}),
    # δ = (1 - ¼)/2 = 0.375, and both are 0.625 on the right side of it: 2·log(1 + e^-0.625)
    ("bco_pair", {"beta": 1.0}, {"loss": [0.857401]}),
    # the same δ, one response a side; p/(1-p) = 3 weighs the undesirable
    ("bco", {"beta": 1.0}, {"loss": [0.428701, 0.428701]}),
    ("bco", {"beta": 1.0, "density_ratio": True}, {"loss": [0.428701, 1.286102]}),
    # one response a side, so one quantile: log(1 + e^-0.625)
    ("aot_unpaired", {"beta": 0.5}, {"loss": [0.428701]}),
    # 3, and ½
    ("nll", {}, {"loss": [3.0, 0.5]}),
    # 2·3, and ½·½
    ("wbc", {}, {"loss": [6.0, 0.25]}),
    # 2·(e^-1·1 + 0.2·2), where e^-2 = 0.135 is below 0.2, and ½·e^-½·½
    ("r_gold", {"min_prob": 0.2}, {"loss": [1.535759, 0.151633]}),
    # 2·1.9·3, where e is above 1.9, and ½·0.778801·½
    ("r_lol", {"clip": 0.9}, {"loss": [11.4, 0.194700]}),
    # 1·e·3, and no advantage
    ("a_lol", {"clip": None}, {"loss": [8.154845, 0.0]}),
    # 1·(1.5·1 + 1.5·2), where e^½ is above 1.5
    ("a_lol_seq", {"clip": 0.5}, {"loss": [4.5, 0.0]}),
    ("a_lol_ref_free", {}, {"loss": [3.0, 0.0]}),
    # ½·r
    ("a_lol_kl", {"kl": "published", "kl_beta": 0.5}, {"loss": [3.0, 0.0], "kl": [0.5, -0.125]}),
    # ½·2·(e^-½ + ½ - 1) = 0.606531 - 0.5, and ½·(e^¼ - ¼ - 1) = ½·0.034025
    ("a_lol_kl", {"kl": "k3", "kl_beta": 0.5}, {"loss": [3.0, 0.0], "kl": [0.106531, 0.017013]}),
    # ½·(0.3 + 0.1), and ½·0.2
    ("a_lol_kl", {"kl": "full", "kl_beta": 0.5}, {"loss": [3.0, 0.0], "kl": [0.2, 0.1]}),
    # rewards ±0.75 around their mean, std 0.75: A = ±0.75/0.76 = ±0.986842.  e^½ is held at 1.5: -1.5·A; 0.778801·A
    (
        "grpo_offline",
        {"clip": 0.5, "kl_beta": 1.0},
        {"policy": [-1.480263, -1.480263, 0.768554], "kl": [0.106531, 0.106531, 0.034025]},
    ),
    # rewards 1 and -1 at the ends.  δ: ½·0 - ½ = -½, 1 - 0 = 1;  -1 + ½ = -½.  A: -½ + ¼·1 = -¼, 1;  -½.
    # Mean 1/12, variance 0.430556, white: -0.508001, 1.397001, -0.889001.
    # 0.508001·e^½ (a ratio that is too high already is not held against a fall), -1.397001·1.5, 0.889001·0.778801.
    # Returns ½·1 = ½, 1, -1 against values ½, 0, -½: ½·0², ½·1², ½·½².
    (
        "ppo_offline",
        {"gamma": 0.5, "gae_lambda": 0.5, "clip": 0.5, "critic_weight": 1.0, "kl_beta": 1.0},
        {"policy": [0.837552, -2.095502, 0.692355], "critic": [0.0, 0.5, 0.125], "kl": [0.5, 0.5, -0.25]},
    ),
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


def digits(arithmetic: Arithmetic) -> float:
    """How far an objective may be off a value worked out by hand."""
    return max(DIGITS, arithmetic.objective_tolerance)


def hand_value(name: str, arithmetic: Arithmetic = EXACT) -> Verdict:
    """The registered objective's terms against every value worked out for it."""
    return worst([_compared(*case, arithmetic) for case in WORKED if case[0] == name])


def _compared(name: str, settings: dict[str, Any], expected: dict[str, list[float]], arithmetic: Arithmetic) -> Verdict:
    objective = Objective(name, REGISTRY[name], settings)
    batch = cast(PAIR, arithmetic.dtype, arithmetic.device)
    stats = {key: torch.tensor(Z, dtype=arithmetic.dtype, device=arithmetic.device) for key in objective.statistics}
    terms = objective(batch, stats).terms
    if terms.keys() != expected.keys():
        return Verdict(problem=f"its terms are {', '.join(terms)}, and by hand {', '.join(expected)}")
    found = {term: difference(terms[term].values, torch.tensor(values)) for term, values in expected.items()}
    furthest = max(found, key=lambda term: found[term])
    return measured(
        largest(found.values()),
        digits(arithmetic),
        f"its term {furthest!r} is {[round(v, 6) for v in terms[furthest].values.tolist()]} at {settings}, and by hand "
        f"{expected[furthest]}",
    )
