"""What a proof found: how far off, how far it may be in this arithmetic, and a sentence where it is too far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

CPU = torch.device("cpu")

Precision = Literal["fp64", "fp32", "bf16"]


@dataclass(frozen=True)
class Arithmetic:
    """How a proof computes.

    precision: of the model's forward.  An objective sees float64 from a float64 model and float32 from any other.
    """

    precision: Precision = "fp64"
    device: torch.device = CPU

    @property
    def dtype(self) -> torch.dtype:
        """What an objective's inputs are."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def objective_tolerance(self) -> float:
        """How far an objective's own numbers may be off, relative to them where they are above 1."""
        return 1e-10 if self.precision == "fp64" else 1e-5

    @property
    def model_tolerance(self) -> float:
        """How far a step's loss and gradients may be off, relative to the largest, between two ways to compute it.

        Some layers compute in float32 whatever the model's type is, so float64 gains less here.
        """
        return {"fp64": 1e-6, "fp32": 1e-4, "bf16": 0.05}[self.precision]


EXACT = Arithmetic()
"""float64 on the CPU: what the tests run in."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one proof.

    deviation, tolerance: the largest found, and allowed; None for a proof that measures nothing.
    problem: what is wrong and how to mend it; None if the proof holds.
    absent: why there was nothing to prove; None if there was.
    """

    deviation: float | None = None
    tolerance: float | None = None
    problem: str | None = None
    absent: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None


HOLDS = Verdict()


def measured(deviation: float, tolerance: float, otherwise: str) -> Verdict:
    """Whether the deviation is within tolerance (a NaN is not); `otherwise` says what it means if not."""
    return Verdict(deviation, tolerance, None if deviation <= tolerance else otherwise)


def worst(verdicts: list[Verdict]) -> Verdict:
    """One for all of them: the first that failed, else the one nearest to its tolerance."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        return failed[0]
    numbers = [verdict for verdict in verdicts if verdict.deviation is not None]
    return max(numbers, key=_share, default=verdicts[0] if verdicts else HOLDS)


def _share(verdict: Verdict) -> float:
    assert verdict.deviation is not None
    assert verdict.tolerance is not None
    return verdict.deviation / verdict.tolerance


def difference(got: Tensor, wanted: Tensor) -> float:
    """The largest |got - wanted|, relative to `wanted` where that is above 1; NaN if either holds one."""
    a, b = got.detach().cpu().double(), wanted.detach().cpu().double()
    if a.shape != b.shape:
        return float("nan")
    return float(((a - b).abs() / b.abs().clamp(min=1)).max()) if a.numel() else 0.0


def largest(deviations: Iterable[float]) -> float:
    """The largest, 0 of none; NaN if one of them is."""
    return float(torch.tensor([0.0, *deviations], dtype=torch.float64).max())
