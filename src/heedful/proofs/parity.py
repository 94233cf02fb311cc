"""An objective against its oracle: value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.reduce import Objective, loss_of
from heedful.objectives.views import Batch, Lists
from heedful.proofs.batches import cast, leaves, random_batch
from heedful.proofs.oracles import Oracle
from heedful.proofs.verdict import EXACT, Arithmetic, Verdict, difference, largest, measured, worst

SEEDS = {0: -0.4, 1: 0.0, 2: 0.9}
"""Random batches, and what a declared statistic is on each: below, at and above the point where KTO's is clamped."""


def parity(objective: Objective, oracle: Oracle, seed: int, arithmetic: Arithmetic = EXACT) -> tuple[Verdict, Verdict]:
    """Value and gradient on one random batch, against the oracle on the same numbers in float64."""
    sizes = (2, 3, 4, 2) if issubclass(objective.view, Lists) else (2, 2, 2)
    batch = cast(random_batch(seed, sizes=sizes), arithmetic.dtype, arithmetic.device)
    stats = {name: batch.tokens["logps"].new_tensor(SEEDS[seed]) for name in objective.statistics}
    outcome = objective(batch, stats)
    loss = loss_of(outcome, outcome.weight_sums)

    written = cast(batch, torch.float64)
    exact_stats = {name: value.detach().cpu().double() for name, value in stats.items()}
    expected = oracle(written, exact_stats, dict(objective.settings))

    where = f"at {_spelled(objective)}, random batch {seed}"
    off = largest(difference(a, b) for a, b in zip(_gradients(loss, batch), _gradients(expected, written), strict=True))
    return (
        measured(
            difference(loss, expected),
            arithmetic.objective_tolerance,
            f"its loss is {loss.item():.6g} and its oracle's is {expected.item():.6g} {where}",
        ),
        measured(off, arithmetic.objective_tolerance, f"its gradient is not its oracle's {where}"),
    )


def parities(objective: Objective, oracle: Oracle, arithmetic: Arithmetic = EXACT) -> tuple[Verdict, Verdict]:
    """The worst of all batches: value, gradient."""
    values, grads = zip(*(parity(objective, oracle, seed, arithmetic) for seed in SEEDS), strict=True)
    return worst(list(values)), worst(list(grads))


def _gradients(loss: Tensor, batch: Batch) -> list[Tensor]:
    """d(loss)/d(column) of every column that carries gradients; zeros where it does not matter."""
    inputs = list(leaves(batch).values())
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(inputs, grads, strict=True)]


def _spelled(objective: Objective) -> str:
    return ", ".join(f"{name}={value}" for name, value in objective.settings.items()) or "no settings"
