"""Oracles: each objective again, from its paper's formula, as plain loops over examples and tokens in float64.

They share nothing with `heedful.objectives` but the batch they look at.  `ORACLES` is the index; a family's module
has its own.
"""

from __future__ import annotations

from heedful.proofs.oracles import (
    likelihood,
    offline_rl,
    policy_gradient,
    preference,
    pretraining,
    ranking,
    reward_models,
    unpaired,
)
from heedful.proofs.oracles.loops import Oracle, Oracles

FAMILIES = (likelihood, pretraining, preference, unpaired, ranking, offline_rl, policy_gradient, reward_models)
ORACLES: Oracles = {name: oracle for family in FAMILIES for name, oracle in family.ORACLES.items()}

__all__ = ["ORACLES", "Oracle", "Oracles", "oracles_of"]


def oracles_of(name: str) -> Oracles:
    """The oracles of the objective called `name`: none, one, or several that cover different settings."""
    return {key: oracle for key, oracle in ORACLES.items() if key.split()[0] == name}
