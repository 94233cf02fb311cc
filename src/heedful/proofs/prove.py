"""Every proof of one objective: a row of verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from heedful.objectives import modifiers
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs, trainees_of
from heedful.proofs.invariances import WAYS, baseline, invariance
from heedful.proofs.laws import LAWS, obeys, unknown_exemptions
from heedful.proofs.oracles import Oracles
from heedful.proofs.parity import parities
from heedful.proofs.stage import Stage
from heedful.proofs.verdict import HOLDS, Verdict, worst
from heedful.proofs.worked import WORKED, hand_value

Proofs = dict[str, Verdict]

COLUMNS = ("oracle value", "oracle gradient", "hand value", "laws", *WAYS)
"""The proofs, in the order in which they are shown."""

NONE_GIVEN = Verdict(absent="none given")


def prove(objective: Objective, oracles: Oracles, stage: Stage) -> Proofs:
    """Verdicts by the names in `COLUMNS`.  What raises an error has failed, with that error for a reason."""
    trouble = _tried(lambda: _runs(objective))
    if not trouble.passed:
        return dict.fromkeys(COLUMNS, trouble)
    value, gradient = _parity(objective, oracles, stage)
    by_hand = objective.name in {name for name, _, _ in WORKED}
    proofs = {
        "oracle value": value,
        "oracle gradient": gradient,
        "hand value": _tried(lambda: hand_value(objective.name, stage.arithmetic)) if by_hand else NONE_GIVEN,
        "laws": worst([_law(objective, law, stage) for law in LAWS]),
    }
    return proofs | _invariances(objective, stage)


def _runs(objective: Objective) -> Verdict:
    """Whether it can be called on a toy batch at all, and gives something to train by."""
    needs(objective)
    trainees_of(objective)
    modifiers.check(objective)
    if unknown := unknown_exemptions(objective.function):
        return Verdict(problem=f"its attribute exempt names {unknown[0]!r}, and there are the laws {', '.join(LAWS)}")
    return HOLDS


def _parity(objective: Objective, oracles: Oracles, stage: Stage) -> tuple[Verdict, Verdict]:
    """The worst over all oracles and the settings they are compared at."""
    values, gradients = [], []
    for oracle, cases in oracles.values():
        for settings in cases:
            tried = replace(objective, settings=settings)
            try:
                value, gradient = parities(tried, oracle, stage.arithmetic)
            except Exception as error:
                value = gradient = _failure(error)
            values.append(value)
            gradients.append(gradient)
    return (worst(values), worst(gradients)) if values else (NONE_GIVEN, NONE_GIVEN)


def _law(objective: Objective, law: str, stage: Stage) -> Verdict:
    verdict = _tried(lambda: obeys(objective, law, stage.arithmetic))
    return verdict if verdict.passed else replace(verdict, problem=f"{law}: {verdict.problem}")


def _invariances(objective: Objective, stage: Stage) -> Proofs:
    try:
        wanted = baseline(objective, stage)
    except Exception as error:
        return dict.fromkeys(WAYS, _failure(error))
    return {way: _tried(lambda way=way: invariance(objective, way, wanted, stage)) for way in WAYS}


def _tried(proof: Callable[[], Verdict]) -> Verdict:
    """The proof's verdict; whatever a user's function raises on the way is what is wrong with it."""
    try:
        return proof()
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Verdict:
    told = str(error) if isinstance(error, ValueError) else f"it raised {type(error).__name__}: {error}"
    if "one-dimensional" in told:
        told += (
            "; leave out .mean() and .sum() and return one value for each unit, which the loop averages over the step"
        )
    return Verdict(problem=told)
