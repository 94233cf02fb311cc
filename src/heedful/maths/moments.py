"""Running means: what a stateful objective remembers of the steps before.  Axes: `S` means kept side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def updated_mean(
    before: Mapping[str, Tensor], sums: Float[Tensor, " S"], counts: Float[Tensor, " S"]
) -> dict[str, Tensor]:
    """`mean` and `count` of everything seen so far: what `before` holds (nothing at the start) and what comes now.

    sums, counts: of the new values of each of `S` means.  A mean of nothing is 0.
    """
    mean = before.get("mean", torch.zeros_like(sums)).to(sums)
    count = before.get("count", torch.zeros_like(counts)).to(counts)
    total = count + counts
    return {"mean": mean + (sums - counts * mean) / total.clamp(min=1), "count": total}
