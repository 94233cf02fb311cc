from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heedful.tokens.boundary import NO_CUT, Boundary, Cut
from heedful.tokens.vocabulary import Vocabulary, common_prefix
from tests.tokens.tokenizers import STYLES, make


def cut(style: str, text: str) -> Cut:
    vocabulary = Vocabulary(make(style))
    return Boundary(vocabulary).cut(text, vocabulary.encode([text])[0])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", ["a", "Answer:", "def f(", "x\ny", "é"])
def test_a_word_or_sign_is_never_cut(style, text):
    assert cut(style, text) == NO_CUT


def test_blanks_that_join_the_next_word_are_cut():
    assert cut("gpt2", "Answer: ") == Cut(1, 1)
    assert cut("llama3", "Answer: ") == Cut(1, 1)
    assert cut("metaspace", "Answer: ") == Cut(1, 1)


def test_newlines_are_cut_only_where_newlines_merge():
    assert cut("llama3", "def f():\n").characters >= 1
    assert cut("newline", "def f():\n") == NO_CUT


@settings(max_examples=100, deadline=None)
@given(
    style=st.sampled_from(["gpt2", "llama3", "newline"]),
    words=st.text("ab:(é你\n ", min_size=1, max_size=10),
    blanks=st.text(" \n\t", min_size=1, max_size=3),
    after=st.sampled_from(["b", " b", "\n", "\n\nb", "7", "  b", "\t", "é"]),
)
def test_what_is_left_of_a_prompt_that_ends_in_blanks_is_stable(style, words, blanks, after):
    vocabulary = Vocabulary(make(style))
    text = words + blanks
    ids = vocabulary.encode([text])[0]
    kept = ids[: len(ids) - Boundary(vocabulary).cut(text, ids).tokens]
    assert vocabulary.encode([text + after])[0][: len(kept)] == kept


@settings(max_examples=100, deadline=None)
@given(style=st.sampled_from(STYLES), text=st.text("ab:é你 \n", max_size=12))
@example(style="gpt2", text=" \n")  # the blank's span is trimmed to nothing
@example(style="gpt2", text="\n  \n")  # the blanks are trimmed off a token that begins with something else
def test_a_cut_stands_between_characters(style, text):
    vocabulary = Vocabulary(make(style))
    ids, ends = vocabulary.encode_with_ends(text)
    found = Boundary(vocabulary).cut(text, ids)
    kept = len(ids) - found.tokens
    assert ([0, *ends][kept] == len(text) - found.characters) or not ids
    if style != "metaspace":
        assert vocabulary.decode(ids[:kept]) == text[: len(text) - found.characters]


def test_tokens_of_text_that_must_not_merge():
    vocabulary = Vocabulary(make("llama3"))
    prompt, whole = vocabulary.encode(["def ad", "def add("])
    assert common_prefix(prompt, whole) < len(prompt)
    apart = Boundary(vocabulary).apart(prompt, "d(", whole)
    assert apart is not None
    assert vocabulary.decode([*prompt, *apart]) == "def add("


def test_sentencepiece_text_can_follow_without_a_blank():
    vocabulary = Vocabulary(make("metaspace"))
    prompt, whole = vocabulary.encode(["ASSISTANT:", "ASSISTANT:Sure"])
    apart = Boundary(vocabulary).apart(prompt, "Sure", whole)
    assert apart is not None
    assert vocabulary.decode([*prompt, *apart]) == "ASSISTANT:Sure"


def test_other_peoples_truncation_does_not_reach_us():
    tokenizer = make("gpt2", specials=("<|left on|>",))
    vocabulary = Vocabulary(tokenizer)
    before, digest = vocabulary.encode(["a b c d"]), vocabulary.digest()
    tokenizer(["a b c d"], truncation=True, max_length=2)
    assert vocabulary.digest() == digest
    assert vocabulary.encode(["a b c d"]) == before
    assert len(before[0]) > 2
