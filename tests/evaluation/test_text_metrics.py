from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluation import (
    distinct_n,
    distinct_per_word,
    extractiveness,
    fragments,
    response_length,
    summary,
)
from heedful.evaluation.self_bleu import self_bleu

words = st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)


def test_distinct_ngrams_are_pooled_over_the_texts():
    # "a b a b" has bigrams ab, ba, ab; "a b" has ab: 2 different of 4.
    assert distinct_n(["a b a b", "a b"], 2) == 0.5
    assert distinct_n(["A a  b"], 1) == pytest.approx(2 / 3)  # case does not count, nor does how much space there is
    assert distinct_n(["one"], 2) == distinct_n([], 1) == 0


def test_the_other_definition_divides_by_words_and_minds_case():
    # 2 different bigrams of "a b a b" and "a b", which have 6 words.
    assert distinct_per_word(["a b a b", "a b"], 2) == pytest.approx(1 / 3)
    assert distinct_per_word(["A a b"], 1) == 1
    assert distinct_per_word(["a  b"], 1) == 1  # "a", "" and "b"
    assert distinct_per_word([], 1) == 0


@given(st.lists(words, max_size=5))
def test_distinct_shares_are_shares_and_agree_on_unigrams(texts):
    for n in (1, 2, 3):
        assert 0 <= distinct_per_word(texts, n) <= 1
        assert 0 <= distinct_n(texts, n) <= 1
    spoken = [text for text in texts if text]
    assert distinct_per_word(spoken, 1) == distinct_n(spoken, 1)


def test_length_is_in_words():
    assert response_length(["one two", " three\n", ""]) == 1
    assert response_length([]) == 0


def test_hand_worked_coverage_and_density():
    # Text: "the red fox ran home"; of the source: "red fox" (2) and "home" (1), a single word.
    # Coverage (2 + 1) / 5, density (4 + 1) / 5.
    source, text = "A red fox came to my home", "The red fox ran home"
    assert fragments(source, text) == [["red", "fox"], ["home"]]
    assert extractiveness(source, text) == pytest.approx((0.6, 1.0))


def test_a_copy_is_one_fragment_and_a_stranger_none():
    assert extractiveness("a b c", "a b c") == (1, 3)
    assert extractiveness("a b c", "d e") == extractiveness("", "d e") == extractiveness("a", "") == (0, 0)


def test_an_overlapping_longer_run_is_found():
    # The run that begins at the source's second word overlaps the shorter one that begins at its first.
    assert fragments("a a a b", "a a b") == [["a", "a", "b"]]


@given(words, words)
def test_fragments_stand_in_both_and_none_could_be_longer(source, text):
    padded, found, i = f" {source} ", fragments(source, text), 0
    tokens = text.split()
    for fragment in found:
        while f" {tokens[i]} " not in padded:  # what is passed over stands nowhere in the source
            i += 1
        assert tokens[i : i + len(fragment)] == fragment
        assert f" {' '.join(fragment)} " in padded
        longer = tokens[i : i + len(fragment) + 1]
        assert len(longer) == len(fragment) or f" {' '.join(longer)} " not in padded
        i += len(fragment)
    assert all(f" {token} " not in padded for token in tokens[i:])


def test_the_summary_of_a_table():
    found = summary(["The red fox ran home", "a fox"], ["A red fox came to my home", "b"])
    assert found["distinct_1"] == pytest.approx(6 / 7)
    assert (found["distinct_2"], found["words"]) == (1, 3.5)
    # Coverages 0.6 and 0, densities 1 and 0.
    assert [found[k] for k in ("coverage", "coverage_std", "density", "density_std")] == [0.3, 0.3, 0.5, 0.5]
    assert set(summary(["a"])) == {"distinct_1", "distinct_2", "distinct_3", "words"}


def test_self_bleu_compares_with_two_hundred_others():
    """The last text is that of number 200, which is none of the first 200 others of any."""
    texts = [" ".join(f"w{i}{letter}" for letter in "abcde") for i in range(202)]
    assert self_bleu([*texts, texts[200]], 2) == 0.0
    assert self_bleu([*texts, texts[3]], 2) == pytest.approx(1 / 203)
