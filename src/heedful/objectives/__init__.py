"""The index of objectives: every function exported here is one, by its own name (`heed train NAME`).

An objective is a pure function of one view (its first argument's type says which data it needs) with keyword-only
settings.  It returns unreduced values, optionally named terms and metrics; `reduce.py` does all the dividing.
"""

from heedful.objectives.likelihood import sft
from heedful.objectives.preference import dpo
from heedful.objectives.registry import REGISTRY, bind, get
from heedful.objectives.reward_models import reward
from heedful.objectives.unpaired import kto

OBJECTIVES = (sft, dpo, kto, reward)
REGISTRY.update({function.__name__: function for function in OBJECTIVES})

__all__ = ["OBJECTIVES", "REGISTRY", "bind", "dpo", "get", "kto", "reward", "sft"]
