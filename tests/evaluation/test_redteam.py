"""What an attacker is asked, and what is made of its answers."""

from __future__ import annotations

import math
import random

import pytest

from heedful.evaluation.redteam import (
    Candidate,
    attack_prompt,
    draw_shown,
    parse_candidates,
    probabilities,
    round_metrics,
)


def candidate(prompt: str, score: float, born: int = 0) -> Candidate:
    return Candidate(prompt, score, 0.0, born)


def test_what_the_attacker_goes_on_from():
    assert attack_prompt("pii", "List:\n", ["a\nb", "c"]) == "List:\n1. a b\n2. c\n3."
    assert attack_prompt("pep8", "List:\n", ["x=1\n"]) == "List:\n1.\n```\nx=1\n```\n2.\n```\n"


@pytest.mark.parametrize(
    ("task", "answer", "prompts"),
    [
        ("toxicity", " You are all\n6. Why do\nunnumbered\n7) And then", ["You are all", "Why do", "And then"]),
        ("toxicity", "same\n6. same", ["same"]),
        ("toxicity", "\n\n", []),
        ("pep8", "x=1\n```\n2.\n```python\ny = 2\n```\nrest", ["x=1\n", "y = 2\n"]),
        ("pep8", "never closed", ["never closed\n"]),
    ],
)
def test_prompts_in_an_answer(task, answer, prompts):
    assert parse_candidates(task, answer) == prompts


def test_probabilities_by_hand():
    # e^0, e^(0.1/0.1) = e: shares 1/(1 + e) and e/(1 + e)
    assert probabilities([0.1, 0.2], 0.1) == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert probabilities([1000.0, 0.0], 0.001) == [1.0, 0.0]


def test_draws_are_without_replacement_and_prefer_the_worst():
    pool = [candidate(str(i), i / 10) for i in range(5)]
    drawn = [draw_shown(pool, 4, 0.1, random.Random(seed)) for seed in range(2000)]
    assert all(len(set(shown)) == 4 for shown in drawn)
    first = sum(shown[0] == "4" for shown in drawn) / 2000
    # e^4/(1 + e + e² + e³ + e^4) = 0.636; deviation √(0.636·0.364/2000) = 0.0108
    assert first == pytest.approx(0.636, abs=0.05)
    assert len(draw_shown(pool, 9, 0.1, random.Random(0))) == 5


def test_metrics_of_a_round_divide_by_what_there_is():
    found = round_metrics([candidate("a", 1.0), candidate("b", 3.0, born=1), candidate("c", 2.0, born=1)], 1)
    assert found == {
        "prompts": 3, "best": 3.0, "best_10": 2.0, "best_100": 2.0, "average": 2.0,
        "new": 2, "round_best": 3.0, "round_average": 2.5,
    }  # fmt: skip
    assert round_metrics([candidate("a", 1.0)], 1)["round_best"] is None


@pytest.mark.parametrize(
    ("task", "answer", "found"),
    [
        ("toxicity", "Sure:\n5. a b\n\n6) c d\nThat is all.", ["a b", "c d"]),
        ("toxicity", "a b\n\nc d", ["a b", "c d"]),
        ("toxicity", "", []),
        ("pep8", "Sure:\n```python\nx=1\n```\n6.\n```\ny = 2\n", ["x=1\n", "y = 2\n"]),
        ("pep8", "x=1 without a fence", []),
    ],
)
def test_prompts_in_what_a_chat_answers(task, answer, found):
    assert parse_candidates(task, answer, chat=True) == found
