"""What an objective reads, trains and counts, found by calling it on a toy batch before a run."""

from __future__ import annotations

import torch

from heedful.objectives.reduce import POLICY, TRAINEES, VALUE_HEAD, Objective, Term
from heedful.objectives.toy import toy_batch
from heedful.objectives.views import TOKEN_OUTPUTS, Batch, MissingColumn, Singles


def needs(objective: Objective) -> frozenset[str]:
    """Names of the columns an objective reads with these settings, found by calling it once on a toy batch."""
    batch = toy_batch()
    try:
        terms = _tried(objective, batch)
        for function in objective.statistics.values():
            function(Singles(objective.seen(batch)))
    except MissingColumn as error:
        raise ValueError(
            f"{objective.name} reads a column {error.args[0]!r} that no batch carries; "
            f"there are {', '.join(sorted([*batch.tokens, *batch.responses]))}"
        ) from error
    if not _untouched(batch):
        raise ValueError(f"{objective.name} changes the batch it looks at, which other passes see too; change a copy")
    if "scores" in batch.read and (others := sorted(batch.read & TOKEN_OUTPUTS)):
        raise ValueError(f"{objective.name} reads scores and {others[0]}, but a model that scores gives nothing else")
    if not any(term.values.requires_grad for term in terms.values()):
        raise ValueError(f"{objective.name} returns values without a gradient: nothing would be trained")
    return frozenset(batch.read)


def _untouched(batch: Batch) -> bool:
    """Whether a toy batch still holds what it held when it was made."""
    fresh = toy_batch()
    same = torch.equal(batch.lengths, fresh.lengths) and torch.equal(batch.group_of, fresh.group_of)
    columns = ((batch.tokens, fresh.tokens), (batch.responses, fresh.responses))
    return same and all(
        now.keys() == then.keys() and all(torch.equal(now[name], then[name]) for name in then) for now, then in columns
    )


def trainees_of(objective: Objective) -> frozenset[str]:
    """Whose parameters its terms train, found by calling it once on a toy batch.

    Raises ValueError for a term whose gradient reaches another trainee than its own, for values that no term trains,
    and if nothing trains the policy.
    """
    batch = toy_batch()
    terms = _tried(objective, batch)
    leaves = {name: column for name, column in {**batch.tokens, **batch.responses}.items() if column.requires_grad}
    for name, term in terms.items():
        if not term.values.requires_grad:
            continue
        grads = torch.autograd.grad(term.values.sum(), list(leaves.values()), allow_unused=True, retain_graph=True)
        reached = {column for column, grad in zip(leaves, grads, strict=True) if grad is not None}
        if foreign := sorted(reached - TRAINEES[term.trainee]):
            owner = next(trainee for trainee, columns in TRAINEES.items() if foreign[0] in columns)
            raise ValueError(
                f"its term {name!r} trains the {term.trainee}, but its gradient reaches {foreign[0]!r}, which is the "
                f"{owner}'s: detach that column there, or give it a term of its own with trainee={owner!r}"
            )
    trained = frozenset(term.trainee for term in terms.values())
    if POLICY not in trained:
        raise ValueError("no term of it trains the policy")
    if ("values" in batch.read) != (VALUE_HEAD in trained):
        raise ValueError(
            "it reads values, but no term trains the value head that gives them"
            if "values" in batch.read
            else "a term trains the value head, but nothing reads its values"
        )
    return trained


def uncountable(objective: Objective) -> str | None:
    """Why a step cannot be divided into packs for this objective; None if it can, or need not be.

    Tried on a toy batch: the terms of two prompts together must be the sums of each prompt's, and how much they count
    for must be known before any forward.  A mean over the batch would otherwise become a mean of means in silence.
    """
    if objective.whole_step:
        return None
    batch = toy_batch()
    blank = Batch(
        batch.lengths,
        batch.group_of,
        {name: torch.zeros_like(column) if column.requires_grad else column for name, column in batch.tokens.items()},
        {
            name: torch.zeros_like(column) if column.requires_grad else column
            for name, column in batch.responses.items()
        },
    )
    halves = [batch.select(batch.group_of.eq(group).nonzero()[:, 0]) for group in (0, 1)]
    whole, counted, *apart = (_tried(objective, each, 0.1) for each in (batch, blank, *halves))
    for name, term in whole.items():
        if name not in counted or not torch.isclose(counted[name].weight_sum, term.weight_sum):
            return (
                f"how much its term {name!r} counts depends on what the model gives, and must be known before; "
                "multiply the values instead of weighting them, or mark it with @whole_step"
            )
        parts = [half[name] for half in apart if name in half]
        zero = torch.zeros((), dtype=torch.float64)
        weights, numerators = (
            sum((getattr(part, what) for part in parts), zero) for what in ("weight_sum", "numerator")
        )
        same = torch.isclose(numerators, term.numerator.double(), equal_nan=True)
        if not (same and torch.isclose(weights, term.weight_sum)):
            return (
                f"its term {name!r} of two prompts is not the sum of each one's (it holds a mean, a sort or the like "
                "over the batch); return a value for each unit, or mark it with @whole_step"
            )
    return None


def unweightable(objective: Objective) -> str | None:
    """Why the weights of data cannot act on this objective; None if they can.  Tried on a toy batch."""
    batch = toy_batch()
    for name, term in _tried(objective, batch).items():
        num = len(batch.by_unit(batch.responses["weight"], term.over or "responses"))
        if num != term.values.numel():
            return f"its term {name!r} does not give one value for each of the {term.over}"
    return None


def _tried(objective: Objective, batch: Batch, statistic: float = 0.0) -> dict[str, Term]:
    """Its terms for a batch, whatever it declares as statistics of a step being this number."""
    stats = {name: torch.tensor(statistic, dtype=torch.float64) for name in objective.statistics}
    return objective(batch, stats).terms
