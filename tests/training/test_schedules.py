import pytest

from heedful.training.schedules import lr_factor, warmup_steps


def test_a_share_is_rounded_and_a_count_is_taken():
    assert warmup_steps(0.1, 25) == 2  # 2.5, to even
    assert warmup_steps(0.1, 30) == 3
    assert warmup_steps(0.0, 30) == 0
    assert warmup_steps(7, 30) == 7


def test_linear_by_hand():
    # two steps of warm-up, then 4/4, 3/4, 2/4, 1/4 of the way
    got = [lr_factor("linear", step, 6, 2) for step in range(6)]
    assert got == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_cosine_by_hand():
    # cos 0 = 1, cos π/4 = 0.7071, cos π/2 = 0, cos 3π/4 = -0.7071
    got = [lr_factor("cosine", step, 4, 0) for step in range(4)]
    assert got == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])


def test_constant_reaches_exactly_one_after_warm_up():
    assert [lr_factor("constant", step, 5, 3) for step in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 3, 50])
def test_never_negative_never_above_one(kind: str, warmup: int):
    assert all(0.0 <= lr_factor(kind, step, 20, warmup) <= 1.0 for step in range(20))
