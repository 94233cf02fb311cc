"""Estimates of KL: what they are worth on average, and that they stay finite."""

from __future__ import annotations

import math

import pytest
import torch

from heedful.maths import bounded_exp, k1, k3

POLICY = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).log()
REFERENCE = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64).log()


def test_k1_and_k3_average_to_the_divergence_under_the_policy() -> None:
    # 0.7·log 2.8 + 0.2·log 0.8 + 0.1·log 0.2 = 0.720734 - 0.044629 - 0.160944
    for estimate in (k1(POLICY, REFERENCE), k3(POLICY, REFERENCE)):
        assert (POLICY.exp() * estimate).sum().item() == pytest.approx(0.515161, abs=1e-6)


def test_k3_is_never_negative_and_0_where_they_agree() -> None:
    logps = torch.linspace(-8, 0, 101, dtype=torch.float64)
    assert (k3(logps, logps.flip(0)) >= 0).all()
    assert k3(logps, logps).abs().max() == 0


def test_k3_pulls_back_from_either_side_and_k1_does_not() -> None:
    # d/d(log π) of e^(q-p) - (q-p) - 1 is 1 - e^(q-p): below 0 where π is too small, above where it is too large
    for estimate, signs in ((k3, [-1.0, 0.0, 1.0]), (k1, [1.0, 1.0, 1.0])):
        logps = torch.tensor([-3.0, -2.0, -1.0], dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(estimate(logps, torch.full_like(logps, -2.0)).sum(), [logps])
        assert grad.sign().tolist() == signs


def test_far_ratios_stay_finite_in_single_precision() -> None:
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    for values in (bounded_exp(far), k3(far, torch.zeros(2))):
        assert values.isfinite().all()
        (grad,) = torch.autograd.grad(values.sum(), [far])
        assert grad.isfinite().all()
    assert bounded_exp(torch.tensor([60.0, 61.0])).tolist() == pytest.approx([math.e**60] * 2, rel=1e-5)
