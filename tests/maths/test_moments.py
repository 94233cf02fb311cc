"""A running mean is the mean of everything seen."""

from __future__ import annotations

import pytest
import torch

from heedful.maths import updated_mean


def test_two_means_side_by_side() -> None:
    first = updated_mean({}, torch.tensor([6.0, 0.0]), torch.tensor([3.0, 0.0]))
    assert first["mean"].tolist() == [2.0, 0.0]  # nothing was seen of the second
    # (6 + 4)/4, and 5/2
    second = updated_mean(first, torch.tensor([4.0, 5.0]), torch.tensor([1.0, 2.0]))
    assert second["mean"].tolist() == pytest.approx([2.5, 2.5])
    assert second["count"].tolist() == [4.0, 2.0]


def test_in_pieces_as_in_one() -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state: dict[str, torch.Tensor] = {}
    for piece in values.split(7):
        state = updated_mean(state, piece.sum(0, keepdim=True), torch.tensor([float(len(piece))], dtype=torch.float64))
    assert state["mean"].item() == pytest.approx(values.mean().item(), abs=1e-15)
    assert state["count"].item() == 100
