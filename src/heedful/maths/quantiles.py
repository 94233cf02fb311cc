"""Two samples of different sizes, laid over each other quantile by quantile.

Axes: `A` and `B` values of the samples, `Q` stretches between quantiles.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def matched_quantiles(
    first: Float[Tensor, " A"], second: Float[Tensor, " B"]
) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"], Float[Tensor, " Q"]]:
    """The optimal transport on a line: where the two quantile functions stand on each stretch on which both are flat.

    Returns the two values and the stretch's width; widths add up to 1.  For samples of one size this is sorting both.
    If either is empty there is nothing to match, and nothing is returned.
    """
    num_first, num_second = first.numel(), second.numel()
    if num_first == 0 or num_second == 0:
        return first[:0], second[:0], first.new_zeros(0)
    # In units of 1/(A·B), the first sample's quantile function steps every B units and the second's every A.
    step_of = torch.arange(1, max(num_first, num_second) + 1, device=first.device)
    ends = torch.cat([step_of[:num_first] * num_second, step_of[:num_second] * num_first]).unique()
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    width = (ends - starts).to(first.dtype) / (num_first * num_second)
    return first.sort().values[starts // num_second], second.sort().values[starts // num_first], width
