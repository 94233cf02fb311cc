"""Samples of different sizes, quantile by quantile."""

from __future__ import annotations

import pytest
import torch

from heedful.maths import matched_quantiles


def test_three_against_two() -> None:
    # thirds against halves: [0, ⅓], [⅓, ½], [½, ⅔], [⅔, 1]
    first, second, width = matched_quantiles(torch.tensor([4.0, 1.0, 2.0]), torch.tensor([1.0, 0.0]))
    assert first.tolist() == [1.0, 2.0, 2.0, 4.0]
    assert second.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert width.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3])


def test_equal_sizes_are_both_sorted() -> None:
    values = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    first, second, width = matched_quantiles(values[0], values[1])
    assert torch.equal(first, values[0].sort().values)
    assert torch.equal(second, values[1].sort().values)
    assert width.tolist() == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (7, 3), (12, 8), (5, 1)])
def test_the_difference_of_means_is_kept(a: int, b: int) -> None:
    first, second = torch.arange(a, dtype=torch.float64) ** 2, torch.arange(b, dtype=torch.float64).exp()
    x, y, width = matched_quantiles(first, second)
    assert width.sum().item() == pytest.approx(1)
    assert (width * (x - y)).sum().item() == pytest.approx((first.mean() - second.mean()).item())


def test_one_empty_side_matches_nothing() -> None:
    for first, second in ((torch.ones(3), torch.ones(0)), (torch.ones(0), torch.ones(3))):
        assert [part.numel() for part in matched_quantiles(first, second)] == [0, 0, 0]
