"""The index of objectives: every function exported here is one, by its own name (`heed train NAME`).

An objective is a pure function of one view (its first argument's type says which data it needs) with keyword-only
settings.  It returns unreduced values, optionally named terms and metrics; `reduce.py` does all the dividing.
"""

from heedful.objectives.likelihood import sft
from heedful.objectives.preference import (
    aot,
    apo_down,
    apo_zero,
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
from heedful.objectives.ranking import plackett_luce, pro
from heedful.objectives.registry import REGISTRY, bind, get
from heedful.objectives.reward_models import reward
from heedful.objectives.unpaired import kto, kto_logsigmoid, kto_simple, kto_zero

LIKELIHOOD = (sft,)
PREFERENCE = (dpo, ipo, robust_dpo, exo, nca, sppo, apo_zero, apo_down, discopop, hinge, slic, simpo, cpo, orpo, aot)
UNPAIRED = (kto, kto_logsigmoid, kto_simple, kto_zero)
RANKING = (plackett_luce, pro)
REWARD = (reward,)
OBJECTIVES = (*LIKELIHOOD, *PREFERENCE, *UNPAIRED, *RANKING, *REWARD)
REGISTRY.update({function.__name__: function for function in OBJECTIVES})

__all__ = [
    "OBJECTIVES",
    "REGISTRY",
    "aot",
    "apo_down",
    "apo_zero",
    "bind",
    "cpo",
    "discopop",
    "dpo",
    "exo",
    "get",
    "hinge",
    "ipo",
    "kto",
    "kto_logsigmoid",
    "kto_simple",
    "kto_zero",
    "nca",
    "orpo",
    "plackett_luce",
    "pro",
    "reward",
    "robust_dpo",
    "sft",
    "simpo",
    "slic",
    "sppo",
]
