"""Win rates, failures, divergences and gains by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from heedful.scorers import Scorer
from heedful.types import Example, Message, Response
from heedful.workflows.compare_measure import BASE, DATA, Answers, measure
from heedful.workflows.judges import REWARD, Panel, make_panel
from heedful.workflows.measure import ratio_interval, win_rate


def example(*texts: str, **extra: Any) -> Example:
    responses = [Response([Message("assistant", text)], extra={"tokens": 2, **extra}) for text in texts]
    return Example([Message("user", "Why?")], responses)


def panel(scores: dict[str, float], failure: float | None = None) -> Panel:
    """A judge that knows these texts."""

    def know(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [scores[r] for r in responses]

    return Panel({"judge": (Scorer("judge", know, False, failure, "of texts"), 1.0)}, {})


def test_hand_worked_win_rate():
    # Prompt 1: 3 beats 1 and ties with 3: 1½ of 2; 0 loses to both: 1½ of 4.  Prompt 2: 2 beats 1 twice over: 4 of 4.
    found = win_rate(np.array([[3.0, 0.0], [2.0, 2.0]]), np.array([[1.0, 3.0], [1.0, 1.0]]), seed=0)
    assert found.value == pytest.approx((1.5 / 4 + 1) / 2)


def test_a_model_ties_with_itself_and_two_rates_add_up_to_one():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (2, 20, 4)).astype(float)
    assert win_rate(a, a, seed=0).value == 0.5
    ab, ba = win_rate(a, b, seed=0), win_rate(b, a, seed=0)
    assert ab.value + ba.value == pytest.approx(1)
    assert (ab.low, ab.high) == pytest.approx((1 - ba.high, 1 - ba.low))


def test_failures_lose_to_every_answer_and_tie_among_themselves():
    bad = -np.inf
    assert win_rate(np.array([[bad]]), np.array([[-1e9]]), seed=0).value == 0
    assert win_rate(np.array([[bad]]), np.array([[bad]]), seed=0).value == 0.5


def test_hand_worked_interval_of_two_prompts():
    # Means by prompt are 0 and 2; resampling two of two gives 0, 1, 1, 2, a quarter each.
    found = ratio_interval((np.array([[0.0], [2.0]]), np.ones((2, 1))), seed=0, level=0.9)
    assert (found.value, found.low, found.high) == (1, 0, 2)


def test_a_failed_answer_counts_at_most_the_worst_of_the_datas_own():
    own = [example("fine"), example("poor")]
    judged = panel({"fine": 5.0, "poor": 1.0, "": 9.0, "cut": 9.0, "worse": 0.5}).with_floors(own)
    assert judged.floors == {"judge": 1.0}
    answers = [example("fine", ""), example("cut", "worse", finished=False)]
    # The empty and the cut answer get the floor, 1, though the judge gives 9; one the judge finds worse keeps that.
    assert judged.rewards(answers)["judge"].tolist() == [[5.0, 1.0], [1.0, 0.5]]
    assert judged.rewards(answers)[REWARD].tolist() == [[5.0, 1.0], [1.0, 0.5]]


def test_the_reward_is_the_weighted_sum_with_smaller_turned_round():
    chosen = make_panel({"length": 2.0, "pep8": 1.0}, "cpu")
    code = [Example([Message("user", "def f():\n")], [Response([Message("assistant", "    x=1\n")])])]
    found = chosen.rewards(code)
    # 8 characters; one violation (E225) in 8 of them is 12.5 a hundred, which pep8 cuts at 10, and smaller is better.
    assert (found["length"][0, 0], found["pep8"][0, 0]) == (8.0, -10.0)
    assert found[REWARD][0, 0] == 2 * 8.0 - 10.0


def test_a_judge_may_be_called_reward(tmp_path):
    (tmp_path / "mine.py").write_text("def reward(prompts, responses):\n    return [1.0] * len(responses)\n")
    spec = f"{tmp_path}/mine.py:reward"
    found = make_panel({spec: 3.0}, "cpu").rewards([example("a")])
    assert {name: values.tolist() for name, values in found.items()} == {spec: [[1.0]], REWARD: [[3.0]]}


def answers(name: str, rewards: list[list[float]], *, logp: float = 0.0, base: float = 0.0) -> Answers:
    examples = [example(*("an answer" for _ in row), logp=logp, logp_base=base) for row in rewards]
    found = np.array(rewards)
    return Answers(name, examples, {"judge": found, REWARD: found}, np.arange(len(rewards)))


def test_hand_worked_measures():
    base = answers(BASE, [[0.0, 0.0], [2.0, 2.0]])
    mine = answers("dpo", [[1.0, 1.0], [3.0, 3.0]], logp=-1.0, base=-4.0)
    found = measure(mine, [base], seed=0, with_kl=True)
    assert found.rewards[REWARD].value == 2
    # Better by 1 on every prompt, so without doubt, though the mean itself is doubtful.
    assert (found.gains[REWARD].value, found.gains[REWARD].low, found.gains[REWARD].high) == (1, 1, 1)
    assert found.wins[REWARD][BASE].value == 1
    # log p - log p_base is 3 nats an answer; each has 2 tokens.
    assert found.kl is not None
    assert found.kl_per_token is not None
    assert (found.kl.value, found.kl_per_token.value) == (3, 1.5)
    # "an answer" twice a prompt: of 8 words two are different, of 4 pairs of words one.
    assert (found.distinct[1], found.distinct[2]) == (0.25, 0.25)
    assert (found.tokens, found.failed) == (2, 0)
    assert measure(mine, [base], seed=0, with_kl=False).kl is None


def test_what_the_base_model_cannot_say_is_infinitely_far_from_it():
    mine = answers("csft", [[1.0], [3.0]], logp=-1.0, base=-4.0)
    mine.examples[0].responses[0].extra["logp_base"] = None
    found = measure(mine, [], seed=0, with_kl=True)
    assert found.kl is not None
    assert found.kl.value == np.inf


def test_the_datas_answers_are_compared_on_the_prompts_that_have_one():
    mine = answers("dpo", [[1.0], [5.0]])
    own = Answers(DATA, [example("an answer")], {REWARD: np.array([[3.0]])}, np.array([1]))
    assert measure(mine, [own], seed=0, with_kl=False).wins[REWARD][DATA].value == 1, "prompt 0 has none"
    base = answers(BASE, [[9.0], [2.0]])
    assert measure(own, [base], seed=0, with_kl=True).gains[REWARD].value == 1


def test_several_judges_give_each_their_win_rates():
    """By the first judge mine wins, by the second it loses; their sum is a tie."""
    both = {BASE: (1.0, 3.0), "mine": (3.0, 1.0)}
    found = {
        name: Answers(
            name,
            [example("an answer")],
            {"a": np.array([[a]]), "b": np.array([[b]]), REWARD: np.array([[a + b]])},
            np.arange(1),
        )
        for name, (a, b) in both.items()
    }
    wins = measure(found["mine"], [found[BASE]], seed=0, with_kl=False).wins
    assert {judge: rates[BASE].value for judge, rates in wins.items()} == {REWARD: 0.5, "a": 1.0, "b": 0.0}
