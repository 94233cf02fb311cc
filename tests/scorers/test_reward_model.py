from __future__ import annotations

import pytest

from heedful.scorers.reward_model import RewardModel
from heedful.types import Example, Message, Response, UserError
from tests.fakes import CHAT_TEMPLATE, save_tiny_model, tiny_tokenizer

TURNS = [Message("user", "How are you?"), Message("assistant", "Well."), Message("user", "What is a fox?")]
SHORT, LONG = "Red.", "It is red and it is quick and it jumps over the dog."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = tiny_tokenizer(chat_template=CHAT_TEMPLATE)
    return save_tiny_model(tmp_path_factory.mktemp("rm") / "rm", tokenizer=tokenizer, score=True)


def example(*answers: str, turns: list[Message] = TURNS) -> Example:
    return Example(turns, [Response([Message("assistant", answer)]) for answer in answers], origin="data.jsonl:1")


def test_examples_may_differ_in_how_many_responses_they_have(folder):
    model = RewardModel(str(folder))
    together = model.score([example(SHORT), example(SHORT, LONG, "No."), example(LONG)])
    assert [len(row) for row in together] == [1, 3, 1]
    assert together[0] == [pytest.approx(together[1][0], abs=1e-5)]
    assert together[2] == [pytest.approx(together[1][1], abs=1e-5)]


def test_a_score_is_no_matter_of_a_longer_sibling(folder):
    """At 70 tokens the short answer fits with the whole dialogue, the long one only without its first turns."""
    model = RewardModel(str(folder), max_length=70)
    [short, long] = model.score([example(SHORT, LONG)])[0]
    assert model.note() == "1 of 2 prompts were longer than 70 tokens with their response and lost their beginning"
    assert [short] == pytest.approx(model.score([example(SHORT)])[0], abs=1e-5)
    whole = RewardModel(str(folder))
    assert [short] == pytest.approx(whole.score([example(SHORT)])[0], abs=1e-5)
    assert [long] == pytest.approx(whole.score([example(LONG, turns=TURNS[2:])])[0], abs=1e-5)
    assert whole.note() == ""


def test_a_response_that_never_fits_is_named(folder):
    with pytest.raises(UserError, match=r"data\.jsonl:1 cannot be scored: its answer does not fit in max_length=40"):
        RewardModel(str(folder), max_length=40).score([example(SHORT, LONG, turns=TURNS[2:])])
