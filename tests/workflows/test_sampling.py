"""`heed sample`: settings that reach the sampler."""

from __future__ import annotations

import pytest

from heedful.examples import read_jsonl
from heedful.types import UserError
from heedful.workflows.sampling import sample
from tests.fakes import save_tiny_model


@pytest.fixture
def place(tmp_path):
    save_tiny_model(tmp_path / "tiny")
    (tmp_path / "p.jsonl").write_text('{"prompt": "One"}\n{"prompt": "Two"}\n')
    return tmp_path


def answers(place, **settings):
    common = {"samples_per_prompt": 16, "max_new_tokens": 40, "echo": lambda line: None}
    path = sample(str(place / "tiny"), str(place / "p.jsonl"), place / "out.jsonl", **common, **settings)
    return [response for example in read_jsonl(path) for response in example.responses]


def test_a_least_length_keeps_answers_from_ending(place):
    assert not all(response.is_unfinished for response in answers(place))
    assert all(response.is_unfinished for response in answers(place, min_new_tokens=40))


def test_what_is_banned_is_never_sampled(place):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place / "tiny")
    every = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    kept = {tokenizer.eos_token, "a", "b"}
    texts = [response.text for response in answers(place, banned=[token for token in every if token not in kept])]
    assert set("".join(texts)) == {"a", "b"}
    with pytest.raises(UserError, match="no token '<nothing>'"):
        answers(place, banned=["<nothing>"])


def test_a_dry_run_tries_it(place):
    lines: list[str] = []
    settings = {"min_new_tokens": 30, "max_new_tokens": 40, "banned": ["a"]}
    sample(str(place / "tiny"), str(place / "p.jsonl"), place / "x.jsonl", dry_run=True, echo=lines.append, **settings)
    assert "would" in lines[0] or "sample" in lines[0]
    assert not (place / "x.jsonl").exists()
