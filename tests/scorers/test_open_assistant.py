from __future__ import annotations

from pathlib import Path

import pytest

from heedful.scorers import get
from heedful.types import TEXT, Example, Message, Response, UserError
from tests.scorers.tiny import LONG, logits, save_with_head

EOS = "<|end|>"
DIALOGUE = [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "What is a fox?")]
TEXTS = [
    f"<|prompter|>Hi{EOS}<|assistant|>Hello.{EOS}<|prompter|>What is a fox?{EOS}<|assistant|>Red.{EOS}",
    f"<|prompter|>Why{EOS}<|assistant|>So it is, as we know.{EOS}",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("oasst") / "rm"
    written = {"model_type": "gpt_neox_reward_model", "architectures": ["GPTNeoXRewardModel"], "pooling": "last"}
    return folder, save_with_head(folder, "gpt_neox", "gpt_neox", "out_proj", 1, **written)


def answer(text: str) -> Response:
    return Response([Message("assistant", text)])


def test_the_reward_is_the_logit_at_the_dialogues_end(made):
    folder, plain = made
    examples = [
        Example(DIALOGUE, [answer("Red.")]),
        Example([Message("user", "Why")], [answer("So it is, as we know.")]),
    ]
    wanted = [[pytest.approx(float(logits(plain, folder, text)), abs=1e-5)] for text in TEXTS]
    for name in (f"open_assistant:{folder}", str(folder)):  # named, or as any other reward model's folder
        assert get(name).examples(examples) == wanted
        assert [get(name).examples([e])[0] for e in examples] == wanted


def test_a_plain_prompt_is_one_turn_or_brings_its_marks(made):
    folder, plain = made
    judge = get(str(folder))
    marked = "<|prompter|>Hi <|endoftext|><|assistant|>Hello.<|prompter|>What is a fox?<|assistant|>"
    wanted = [pytest.approx(float(logits(plain, folder, text)), abs=1e-5) for text in TEXTS]
    assert judge([marked, "Why"], ["Red.", "So it is, as we know.<|endoftext|>"]) == wanted
    plainly = Example([Message(TEXT, marked)], [Response([Message(TEXT, "Red.")])])
    assert judge.examples([plainly]) == [[wanted[0]]]


def test_a_long_dialogue_loses_its_beginning(made):
    import torch
    from transformers import AutoTokenizer

    folder, plain = made
    judge = get(str(folder))
    found = judge([LONG], ["Red."])
    assert "1 of 1 texts were longer than 512 tokens and lost their beginning" in judge.note()
    ids = AutoTokenizer.from_pretrained(folder)(f"<|prompter|>{LONG}{EOS}<|assistant|>Red.{EOS}")["input_ids"][-512:]
    with torch.no_grad():
        assert found == [pytest.approx(float(plain(torch.tensor([ids]))), abs=1e-5)]


def test_what_it_cannot_read_is_refused(made, tmp_path):
    folder, _ = made
    with pytest.raises(UserError, match="no role 'tool'; it knows user, assistant, system"):
        get(str(folder)).examples([Example([Message("tool", "x")], [answer("y")])])
    written = {"model_type": "gpt_neox_reward_model", "pooling": "mean"}
    save_with_head(tmp_path / "mean", "gpt_neox", "gpt_neox", "out_proj", 1, **written)
    with pytest.raises(UserError, match="pools by 'mean'"):
        get(str(tmp_path / "mean"))
    save_with_head(tmp_path / "plain", "gpt_neox", "gpt_neox", "out_proj", 1)
    with pytest.raises(UserError, match="is a gpt_neox, not an OpenAssistant reward model"):
        get(f"open_assistant:{tmp_path / 'plain'}")
