"""Ratios of probabilities, and estimates of KL(π‖π_ref) from the log-probabilities of single tokens, nats."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_EXPONENT = 60.0
"""Ratios are taken as e^60 at most: far beyond where a loss is flat, and short of what overflows a float32."""


def bounded_exp(log_ratio: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """e^x, and e^60 beyond."""
    return torch.exp(log_ratio.clamp(max=LARGEST_EXPONENT))


def k1(logps: Float[Tensor, " N"], ref_logps: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """log π - log π_ref of each token: unbiased where the tokens were sampled from π, and of either sign."""
    return logps - ref_logps


def k3(logps: Float[Tensor, " N"], ref_logps: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """π_ref/π - log π_ref/π - 1 of each token: never negative, 0 where they agree.

    Unbiased where the tokens were sampled from π.  Schulman 2020, "Approximating KL divergence".
    """
    difference = (ref_logps - logps).clamp(max=LARGEST_EXPONENT)
    return torch.expm1(difference) - difference
