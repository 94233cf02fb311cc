from __future__ import annotations

import math

import pytest
import torch

from heedful.rollouts.choose import choose
from heedful.rollouts.seeds import plan_seeds, uniforms


def grid(steps: int) -> torch.Tensor:
    """Every pair of `steps` evenly spaced uniforms: sampling over it gives the distribution almost exactly."""
    points = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    return torch.cartesian_prod(points, points)


def frequencies(probabilities: list[float], **settings) -> list[float]:
    uniform = grid(200)
    logits = torch.tensor(probabilities).log().expand(len(uniform), -1)
    return (torch.bincount(choose(logits, uniform, **settings), minlength=len(probabilities)) / len(uniform)).tolist()


def test_hand_worked_blocks():
    # Five tokens make blocks of width 3: {0,1,2} with 0.1+0.2+0.3 = 0.6 and {3,4} with 0.15+0.25 = 0.4.
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]]).log()

    def pick(first: float, second: float) -> int:
        return int(choose(logits, torch.tensor([[first, second]])))

    assert pick(0.59, 0.16) == 0  # first block; 0.16 < 0.1/0.6 = 0.1667
    assert pick(0.59, 0.17) == 1
    assert pick(0.00, 0.51) == 2  # 0.51 > (0.1+0.2)/0.6 = 0.5
    assert pick(0.61, 0.37) == 3  # second block; 0.37 < 0.15/0.4 = 0.375
    assert pick(0.999999, 0.38) == 4


def test_samples_follow_the_distribution():
    wanted = [0.5, 0.0, 0.2, 0.05, 0.1, 0.15, 0.0]
    assert frequencies(wanted) == pytest.approx(wanted, abs=0.01)


def test_temperature_is_a_power_of_the_probabilities():
    # p^(1/0.5) = p²: 0.36, 0.09, 0.01 over their sum 0.46
    assert frequencies([0.6, 0.3, 0.1], temperature=0.5) == pytest.approx([36 / 46, 9 / 46, 1 / 46], abs=0.01)


def test_top_k_keeps_the_most_likely():
    assert frequencies([0.1, 0.5, 0.1, 0.3], top_k=2) == pytest.approx([0, 0.625, 0, 0.375], abs=0.01)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    # 0.5 alone does not reach 0.6, 0.5 + 0.3 does.
    assert frequencies([0.1, 0.5, 0.1, 0.3], top_p=0.6) == pytest.approx([0, 0.625, 0, 0.375], abs=0.01)
    assert frequencies([0.1, 0.5, 0.1, 0.3], top_p=0.01) == [0, 1, 0, 0]


def test_top_p_is_a_share_of_what_top_k_left():
    # The two left are 0.625 and 0.375; the first reaches 0.6 alone.
    assert frequencies([0.1, 0.5, 0.1, 0.3], top_k=2, top_p=0.6) == [0, 1, 0, 0]


def test_greedy_ignores_the_uniforms():
    assert frequencies([0.2, 0.5, 0.3], temperature=0) == [0, 1, 0]


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 4, 5, 48, 49, 50, 2048])
def test_extreme_uniforms_stay_in_the_vocabulary_and_off_impossible_tokens(vocabulary):
    logits = torch.randn(4, vocabulary, generator=torch.Generator().manual_seed(0))
    if vocabulary > 2:
        logits[:, 0] = logits[:, -1] = -math.inf
    last = math.nextafter(1.0, 0.0)
    uniform = torch.tensor([[0.0, 0.0], [0.0, last], [last, 0.0], [last, last]], dtype=torch.float64)
    tokens = choose(logits, uniform)
    assert ((tokens >= 0) & (tokens < vocabulary)).all()
    assert logits.gather(1, tokens[:, None]).isfinite().all()


def test_seeds_depend_on_the_prompt_and_not_on_the_others():
    alone, together = plan_seeds(3, [[1, 2]], 2), plan_seeds(3, [[9], [1, 2], [4]], 2)
    assert alone[0] == together[1]
    assert len({s for seeds in together for s in seeds}) == 6
    assert plan_seeds(4, [[1, 2]], 2) != alone


def test_a_prompt_asked_twice_continues_its_numbering():
    twice, at_once = plan_seeds(0, [[5], [5]], 2), plan_seeds(0, [[5]], 4)
    assert twice[0] + twice[1] == at_once[0]


def test_more_uniforms_begin_with_the_same():
    assert (uniforms([7, 8], 5)[:, :3] == uniforms([7, 8], 3)).all()
