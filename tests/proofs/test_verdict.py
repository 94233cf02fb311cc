"""How deviations are measured and judged."""

from __future__ import annotations

import math

import pytest
import torch

from heedful.proofs.verdict import HOLDS, Verdict, difference, largest, measured, worst

NAN = float("nan")


def test_differences_are_relative_above_one_and_absolute_below():
    # |3 - 2|/2, |0.5 - 0.25| and |-8 + 10|/10
    assert difference(torch.tensor([3.0, 0.5, -8.0]), torch.tensor([2.0, 0.25, -10.0])) == pytest.approx(0.5)
    assert difference(torch.tensor([0.5]), torch.tensor([0.25])) == 0.25
    assert difference(torch.zeros(0), torch.zeros(0)) == 0.0


@pytest.mark.parametrize("got", [torch.tensor([NAN, 1.0]), torch.tensor([math.inf, 1.0]), torch.ones(3)])
def test_what_cannot_be_compared_fails(got: torch.Tensor):
    assert not measured(difference(got, torch.ones(2)), 1e9, "off").passed


def test_the_largest_keeps_a_nan_wherever_it_stands():
    assert largest([0.1, 0.3, 0.2]) == pytest.approx(0.3)
    assert math.isnan(largest([NAN, 1.0]))
    assert math.isnan(largest([1.0, NAN]))
    assert largest([]) == 0.0


def test_the_worst_is_a_failure_or_what_is_nearest_to_its_limit():
    near, far, failed = Verdict(8.0, 10.0), Verdict(1e-12, 1e-10), Verdict(1.0, 0.5, "off")
    assert worst([far, near, HOLDS]) is near
    assert worst([far, failed, near]) is failed
    assert worst([HOLDS]) is HOLDS
