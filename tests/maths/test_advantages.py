"""Discounted sums, GAE, group advantages and whitening: by hand, against plain recursions, and by what they promise."""

from __future__ import annotations

import pytest
import torch

from heedful.maths import at_the_end, discounted_sums, gae, group_advantages, whiten

LENGTHS = torch.tensor([3, 1, 0, 5, 17])


def numbers(seed: int, n: int = int(LENGTHS.sum())) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def backwards(values: torch.Tensor, discount: float) -> list[float]:
    """y_t = x_t + γ·y_{t+1}, one token after another, response by response."""
    out: list[float] = []
    for part in values.split(LENGTHS.tolist()):
        following, found = 0.0, []
        for value in reversed(part.tolist()):
            following = value + discount * following
            found.insert(0, following)
        out += found
    return out


@pytest.mark.parametrize("discount", [0.0, 0.3, 0.99, 1.0])
def test_discounted_sums_are_the_recursion(discount: float) -> None:
    values = numbers(0)
    assert discounted_sums(values, LENGTHS, discount).tolist() == pytest.approx(backwards(values, discount), abs=1e-12)


def test_discounted_sums_by_hand() -> None:
    # 1 + ½·(2 + ½·4), 2 + ½·4, 4;  8 stands alone
    found = discounted_sums(torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([3, 1]), 0.5)
    assert found.tolist() == [3.0, 4.0, 4.0, 8.0]


def test_nothing_has_no_sums() -> None:
    assert discounted_sums(torch.zeros(0), torch.tensor([], dtype=torch.long), 0.9).numel() == 0
    assert discounted_sums(torch.zeros(0), torch.tensor([0, 0]), 0.9).numel() == 0


def test_gae_with_lambda_one_is_return_minus_value() -> None:
    rewards, values = numbers(1), numbers(2)
    expected = discounted_sums(rewards, LENGTHS, 0.9) - values
    torch.testing.assert_close(gae(rewards, values, LENGTHS, gamma=0.9, gae_lambda=1.0), expected)


def test_gae_with_lambda_zero_is_one_step() -> None:
    # V is 0 beyond the end: 1 + ½·4 - 2, 0 + ½·0 - 4;  3 - 5
    rewards, values = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([2.0, 4.0, 5.0])
    assert gae(rewards, values, torch.tensor([2, 1]), gamma=0.5, gae_lambda=0.0).tolist() == [1.0, -4.0, -2.0]


def test_a_perfect_critic_leaves_no_advantage() -> None:
    rewards = numbers(3)
    values = discounted_sums(rewards, LENGTHS, 0.95)
    advantages = gae(rewards, values, LENGTHS, gamma=0.95, gae_lambda=0.7)
    torch.testing.assert_close(advantages, torch.zeros_like(advantages))


def test_at_the_end() -> None:
    found = at_the_end(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0, 1]))
    assert found.tolist() == [0.0, 1.0, 3.0]


def test_group_advantages_by_hand() -> None:
    # 1 and 3: mean 2, std 1, ±1/1.25;  a group of equals;  a group of one
    found = group_advantages(torch.tensor([1.0, 3.0, 5.0, 5.0, 9.0]), torch.tensor([2, 2, 1]), offset=0.25)
    assert found.tolist() == pytest.approx([-0.8, 0.8, 0.0, 0.0, 0.0])


def test_group_advantages_do_not_depend_on_the_level_of_scores() -> None:
    scores, sizes = numbers(4, 9), torch.tensor([4, 2, 3])
    moved = scores + torch.tensor([10.0, -3.0, 0.5], dtype=torch.float64).repeat_interleave(sizes)
    torch.testing.assert_close(
        group_advantages(moved, sizes, offset=0.01), group_advantages(scores, sizes, offset=0.01), rtol=0, atol=1e-12
    )


def test_whitened_values_have_mean_0_and_variance_1() -> None:
    white = whiten(100 + 7 * numbers(5, 50))
    assert white.mean().item() == pytest.approx(0, abs=1e-12)
    assert (white**2).mean().item() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
def test_equal_values_whiten_to_0(value: float) -> None:
    assert whiten(torch.full((4,), value)).tolist() == [0.0] * 4
    assert whiten(torch.tensor([value])).tolist() == [0.0]
