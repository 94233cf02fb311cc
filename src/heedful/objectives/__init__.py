"""The index of objectives: every function exported here is one, by its own name (`heed train NAME`).

An objective is a pure function of one view (its first argument's type says which data it needs) with keyword-only
settings.  It returns unreduced values, optionally named terms and metrics; `reduce.py` does all the dividing.
"""

from heedful.objectives.likelihood import csft, sft
from heedful.objectives.offline_rl import a_lol, a_lol_kl, a_lol_ref_free, a_lol_seq, nll, r_gold, r_lol, wbc
from heedful.objectives.policy_gradient import grpo_offline, ppo_offline
from heedful.objectives.preference import (
    aot,
    apo_down,
    apo_zero,
    bco_pair,
    cpo,
    discopop,
    dpo,
    exo,
    hinge,
    ipo,
    nca,
    orpo,
    robust_dpo,
    simpo,
    slic,
    sppo,
)
from heedful.objectives.pretraining import awr, conditional, filtering, mle, rwr, unlikelihood
from heedful.objectives.ranking import plackett_luce, pro
from heedful.objectives.registry import REGISTRY, bind, get, plain, register
from heedful.objectives.reward_models import reward
from heedful.objectives.unpaired import aot_unpaired, bco, kto, kto_logsigmoid, kto_simple, kto_zero

LIKELIHOOD = (sft, csft)
PRETRAINING = (mle, filtering, conditional, unlikelihood, awr, rwr)
PREFERENCE = (
    dpo,
    ipo,
    robust_dpo,
    exo,
    nca,
    sppo,
    apo_zero,
    apo_down,
    discopop,
    hinge,
    slic,
    simpo,
    cpo,
    orpo,
    aot,
    bco_pair,
)
UNPAIRED = (kto, kto_logsigmoid, kto_simple, kto_zero, bco, aot_unpaired)
RANKING = (plackett_luce, pro)
OFFLINE_RL = (nll, wbc, r_gold, r_lol, a_lol, a_lol_seq, a_lol_ref_free, a_lol_kl)
POLICY_GRADIENT = (ppo_offline, grpo_offline)
REWARD = (reward,)
OBJECTIVES = (*LIKELIHOOD, *PRETRAINING, *PREFERENCE, *UNPAIRED, *RANKING, *OFFLINE_RL, *POLICY_GRADIENT, *REWARD)
register(*OBJECTIVES)

__all__ = [
    "OBJECTIVES",
    "REGISTRY",
    "a_lol",
    "a_lol_kl",
    "a_lol_ref_free",
    "a_lol_seq",
    "aot",
    "aot_unpaired",
    "apo_down",
    "apo_zero",
    "awr",
    "bco",
    "bco_pair",
    "bind",
    "conditional",
    "cpo",
    "csft",
    "discopop",
    "dpo",
    "exo",
    "filtering",
    "get",
    "grpo_offline",
    "hinge",
    "ipo",
    "kto",
    "kto_logsigmoid",
    "kto_simple",
    "kto_zero",
    "mle",
    "nca",
    "nll",
    "orpo",
    "plackett_luce",
    "plain",
    "ppo_offline",
    "pro",
    "r_gold",
    "r_lol",
    "reward",
    "robust_dpo",
    "rwr",
    "sft",
    "simpo",
    "slic",
    "sppo",
    "unlikelihood",
    "wbc",
]
