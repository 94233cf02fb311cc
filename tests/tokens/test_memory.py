"""A text is tokenised once within `remembering_tokens`, by each tokenizer."""

from __future__ import annotations

import pytest

from heedful.tokens.memory import current_memory, remembering_tokens
from heedful.tokens.vocabulary import Vocabulary
from tests.fakes import tiny_tokenizer

TEXTS = ["The dog does not mind.", "", "你好", "The dog does not mind."]


def test_the_tokens_are_those_of_the_tokenizer_and_come_from_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(tiny_tokenizer())
    plain = vocabulary.encode(TEXTS)
    asked: list[str] = []
    tokenise = Vocabulary._encode

    def noted(self: Vocabulary, texts: list[str]) -> list[list[int]]:
        asked.extend(texts)
        return tokenise(self, texts)

    monkeypatch.setattr(Vocabulary, "_encode", noted)
    with remembering_tokens():
        assert vocabulary.encode(TEXTS) == plain
        assert Vocabulary(tiny_tokenizer()).encode(TEXTS[::-1]) == plain[::-1], "another face of the same tokenizer"
    assert sorted(asked) == sorted(set(TEXTS))
    assert vocabulary.encode(TEXTS) == plain
    assert len(asked) == 3 + 4, "outside nothing is remembered"


def test_two_tokenizers_do_not_share_tokens() -> None:
    small, large = Vocabulary(tiny_tokenizer(vocab_size=258)), Vocabulary(tiny_tokenizer(vocab_size=320))
    wanted = [vocabulary.encode(TEXTS) for vocabulary in (small, large)]
    assert wanted[0] != wanted[1]
    with remembering_tokens():
        assert [vocabulary.encode(TEXTS) for vocabulary in (small, large)] == wanted


def test_the_memory_ends_with_its_block_whatever_happens() -> None:
    def fail() -> None:
        assert current_memory() is not None
        raise RuntimeError

    with pytest.raises(RuntimeError), remembering_tokens():
        fail()
    assert current_memory() is None
