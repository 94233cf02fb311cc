"""Laws that every objective obeys, tried on random batches.

An objective for which a law is not meant says so with a reason: ours in `EXEMPT`, a user's own in an attribute,
`my_loss.exempt = {"raises the better": "it only ever lowers"}`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from heedful.objectives.reduce import Objective, loss_of
from heedful.objectives.trial import needs, uncountable
from heedful.objectives.views import Batch, Pairs, Singles
from heedful.proofs.batches import cast, leaves, random_batch, replaced
from heedful.proofs.verdict import EXACT, HOLDS, Arithmetic, Verdict, difference, measured

Law = Callable[[Objective, Arithmetic], Verdict]

STATISTIC = 0.2
"""What a declared statistic of the step is here, nats."""

SCALES = (0.0, 1.0, 100.0, 1000.0)
"""How many times larger log-probabilities and scores are made: from nothing to far beyond what training meets."""

DESCENT = ("raises the better", "lowers the worse")
"""The laws that speak of better and worse responses."""

_UNTOUCHED_WEIGHT = {"gradient of its value": "no gradient flows through its weight, as published"}
_UNTOUCHED_SHIFT = {"gradient of its value": "no gradient flows through its running shift, as published"}

EXEMPT: dict[str, dict[str, str]] = {
    "discopop": dict.fromkeys(DESCENT, "its authors show a dip at small negative margins, where it asks for less"),
    "apo_down": {"raises the better": "it lowers both by design where the chosen is likelier than under the reference"},
    "csft": {"lowers the worse": "it imitates both, each after its own control token"},
    "ppo_offline": {
        **dict.fromkeys(DESCENT, "it follows advantages, which its value head decides"),
        "gradient of its value": "no gradient flows through its advantages, as published",
    },
    **dict.fromkeys(("r_gold", "r_lol", "a_lol", "a_lol_seq", "wpo"), _UNTOUCHED_WEIGHT),
    **dict.fromkeys(("bco", "bco_pair"), _UNTOUCHED_SHIFT),
    "awr": _UNTOUCHED_WEIGHT,
}
"""Objective, or modifier → law → why it does not hold there."""


def outcome_of(objective: Objective, batch: Batch):
    """What the objective gives for this batch, its statistics and state as they are at some step."""
    stats = {name: batch.tokens["logps"].new_tensor(STATISTIC) for name in objective.statistics}
    return objective(batch, stats)


def loss_on(objective: Objective, batch: Batch) -> Tensor:
    """The loss of a step that is this batch."""
    outcome = outcome_of(objective, batch)
    return loss_of(outcome, outcome.weight_sums)


def fits_packs(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """A step's terms are the sums of its prompts' terms, unless it says that it couples them."""
    reason = uncountable(objective)
    return HOLDS if reason is None else Verdict(problem=reason)


def finite(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Loss and gradients are finite at the start and at extremes."""
    for scale in SCALES:
        batch = random_batch(3)
        columns = {**batch.tokens, "scores": batch.responses["scores"]}
        scaled = {k: (v.detach() * scale).requires_grad_(v.requires_grad) for k, v in columns.items()}
        extreme = cast(replaced(batch, scaled), arithmetic.dtype, arithmetic.device)
        value = loss_on(objective, extreme)
        grads = torch.autograd.grad(value, list(leaves(extreme).values()), allow_unused=True)
        what = "loss" if not math.isfinite(value.item()) else "gradient"
        if what == "loss" or not all(grad is None or grad.isfinite().all() for grad in grads):
            where = (
                "log-probabilities of 0" if scale == 0 else f"{scale:g} times the usual log-probabilities and scores"
            )
            return Verdict(
                problem=f"its {what} is not finite at {where}; write log σ(x) as F.logsigmoid(x), log(1 + e^x) as "
                "F.softplus(x), and clamp what goes into exp"
            )
    return HOLDS


def trains_at_the_start(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Where the policy equals the reference, there is a gradient and it is finite."""
    batch = random_batch(4)
    same = {"ref_logps": batch.tokens["logps"].detach().clone()}
    equal = cast(replaced(batch, same), arithmetic.dtype, arithmetic.device)
    value = loss_on(objective, equal)
    grads = torch.autograd.grad(value, list(leaves(equal).values()), allow_unused=True)
    where = "where the policy equals the reference, which is where training starts"
    if not math.isfinite(value.item()) or not all(grad is None or grad.isfinite().all() for grad in grads):
        return Verdict(problem=f"its loss or gradient is not finite {where}; look for a division by a log-ratio")
    if not any(grad is not None and grad.abs().sum() > 0 for grad in grads):
        return Verdict(problem=f"its gradient is zero {where}, so nothing would be learnt")
    return HOLDS


def order_of_prompts(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Prompts in another order give the same loss."""
    batch = cast(random_batch(5, sizes=(2, 2, 2, 2)), arithmetic.dtype, arithmetic.device)
    moved = batch.select(torch.tensor([4, 5, 0, 1, 6, 7, 2, 3], device=arithmetic.device))
    moved = Batch(moved.lengths, batch.group_of, moved.tokens, moved.responses)
    return measured(
        difference(loss_on(objective, moved), loss_on(objective, batch)),
        arithmetic.objective_tolerance,
        "its loss depends on the order of the prompts in a batch, which is random; treat every prompt alike",
    )


def packs_add_up(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Splitting a step into packs changes nothing, because nothing is averaged twice."""
    batch = cast(random_batch(6, sizes=(2, 2, 2, 2, 2)), arithmetic.dtype, arithmetic.device)
    whole = outcome_of(objective, batch)
    denominators = whole.weight_sums
    parts = [
        batch.select(torch.tensor(rows, device=arithmetic.device)) for rows in ([0, 1, 2, 3], [4, 5], [6, 7, 8, 9])
    ]
    losses = [loss_of(outcome_of(objective, part), denominators) for part in parts]
    return measured(
        difference(torch.stack(losses).sum(), loss_of(whole, denominators)),
        arithmetic.objective_tolerance,
        "the packs of a step do not add up to the step, so its loss would depend on how data are packed (it holds a "
        "mean over the batch or the like); return a value for each unit, or mark it with @whole_step",
    )


def raises_the_better(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Descent raises the chosen of pairs, the desirable of single responses."""
    return _descent(objective, better=True)


def lowers_the_worse(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Descent lowers the rejected of pairs, the undesirable of single responses."""
    return _descent(objective, better=False)


def _descent(objective: Objective, *, better: bool) -> Verdict:
    label = "chosen" if issubclass(objective.view, Pairs) else "desirable"
    batch = random_batch(7)
    what = "scores" if "scores" in needs(objective) else "logps"
    (grad,) = torch.autograd.grad(loss_on(objective, batch), [leaves(batch)[what]])
    side = batch.responses[label] == float(better)
    side = side if what == "scores" else torch.repeat_interleave(side, batch.lengths)
    downhill = -grad[side] if better else grad[side]
    if (downhill >= 0).all() and (downhill > 0).any():
        return HOLDS
    name = {("chosen", False): "rejected", ("desirable", False): "undesirable"}.get((label, better), label)
    law, way = ("raises the better", "raise") if better else ("lowers the worse", "lower")
    return Verdict(
        problem=f"descent does not {way} the {name} responses of every random batch; look at its signs, or, if that "
        f'is meant, write {objective.function.__name__}.exempt = {{"{law}": "why"}} below the function'
    )


def gradient_of_its_value(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """The gradient is that of small differences, in float64."""
    batch = random_batch(8, sizes=(2, 2), most_tokens=3)
    read = [name for name in leaves(batch) if name in needs(objective)]

    def value(*columns: Tensor) -> Tensor:
        return loss_on(objective, replaced(batch, dict(zip(read, columns, strict=True))))

    if torch.autograd.gradcheck(value, [leaves(batch)[name] for name in read], raise_exception=False):
        return HOLDS
    return Verdict(
        problem="its gradient is not that of its value (something is detached, or rounded); if that is meant, write "
        f'{objective.function.__name__}.exempt = {{"gradient of its value": "why"}} below the function'
    )


def metrics_are_unreduced(objective: Objective, arithmetic: Arithmetic) -> Verdict:
    """Metrics are lists of values, averaged once over the step by the loop."""
    for name, values in outcome_of(objective, random_batch(9)).metrics.items():
        if values.ndim != 1:
            return Verdict(
                problem=f"its metric {name!r} has {values.ndim} dimensions; give one value a unit, which the loop "
                "averages over the step"
            )
    return HOLDS


LAWS: Mapping[str, Law] = {
    "fits packs": fits_packs,
    "finite": finite,
    "trains at the start": trains_at_the_start,
    "order of prompts": order_of_prompts,
    "packs add up": packs_add_up,
    "raises the better": raises_the_better,
    "lowers the worse": lowers_the_worse,
    "gradient of its value": gradient_of_its_value,
    "metrics are unreduced": metrics_are_unreduced,
}


def inapplicable(objective: Objective, law: str) -> str | None:
    """Why this law is not for this objective; None if it is."""
    own: Mapping[str, str] = getattr(objective.function, "exempt", {})
    acting = [modifier.setting for modifier, _ in objective.modifiers]
    for reasons in (own, *(EXEMPT.get(name, {}) for name in (objective.name, *acting))):
        if law in reasons:
            return reasons[law]
    if law == "packs add up" and objective.whole_step:
        return "it takes a step as a whole"
    judged = "chosen" if issubclass(objective.view, Pairs) else "desirable"
    if law in DESCENT and (objective.view not in (Pairs, Singles) or judged not in needs(objective)):
        return "it does not tell better responses from worse ones"
    return None


def unknown_exemptions(function: Callable) -> list[str]:
    """Names in the function's `exempt` that are no laws."""
    return [name for name in getattr(function, "exempt", {}) if name not in LAWS]


def obeys(objective: Objective, law: str, arithmetic: Arithmetic = EXACT) -> Verdict:
    """The verdict on one law, by its name in `LAWS`."""
    if (reason := inapplicable(objective, law)) is not None:
        return Verdict(absent=reason)
    return LAWS[law](objective, arithmetic)


def unexplained(function: Callable) -> list[str]:
    """Settings that the docstring does not speak of."""
    doc = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in doc]
