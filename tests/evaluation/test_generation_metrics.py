"""Metrics of samples as texts, by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluation.self_bleu import self_bleu
from heedful.evaluation.text_metrics import distinct_ngrams, expected_max, ngram_entropy


class TestExpectedMax:
    def test_by_hand(self):
        # pairs of 1, 2, 4: maxima 2, 4, 4
        assert expected_max([4, 1, 2], 2) == pytest.approx(10 / 3)

    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=7), st.integers(1, 7))
    def test_it_is_the_mean_over_all_subsets(self, scores, k):
        if k > len(scores):
            assert expected_max(scores, k) is None
            return
        subsets = [max(subset) for subset in itertools.combinations(scores, k)]
        assert expected_max(scores, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-9)

    def test_of_many(self):
        scores = list(range(4096))
        # the expected maximum of k of 0 … n-1 is k(n+1)/(k+1) - 1
        assert expected_max(scores, 25) == pytest.approx(25 * 4097 / 26 - 1)


def test_distinct_and_entropy():
    # "a b a b": unigrams 2 of 4, bigrams ab, ba, ab: 2 of 3; "c": 1 of 1, and no bigram
    texts = ["a b a b", "c"]
    assert distinct_ngrams(texts, 1) == pytest.approx((2 / 4 + 1) / 2)
    assert distinct_ngrams(texts, 2) == pytest.approx((2 / 3 + 0) / 2)
    # pooled: a 2/5, b 2/5, c 1/5
    assert ngram_entropy(texts, 1) == pytest.approx(-(2 * 0.4 * math.log(0.4) + 0.2 * math.log(0.2)))
    assert ngram_entropy([], 1) == 0.0


class TestSelfBleu:
    def test_equal_texts(self):
        assert self_bleu(["a b c d e f"] * 3) == pytest.approx(1.0)

    def test_nothing_in_common(self):
        assert self_bleu(["a b c", "d e f"]) == 0.0

    def test_by_hand(self):
        # n = 2.  "a b c" against "a b d": unigrams 2/3, bigrams 1/2, equal length: √(1/3); the same the other way.
        assert self_bleu(["a b c", "a b d"], n=2) == pytest.approx(math.sqrt(1 / 3))

    def test_a_short_text_is_held_against_the_closest_length(self):
        # "a" against "a b": unigrams 1/1, no bigram: 0.1/1; brevity e^(1 - 2/1).  "a b" against "a": 1/2, 0.1/1, 1.
        short, long = math.sqrt(1 * 0.1) * math.exp(-1), math.sqrt(0.5 * 0.1)
        assert self_bleu(["a", "a b"], n=2) == pytest.approx((short + long) / 2)

    def test_characters(self):
        assert self_bleu(["abc", "abd"], n=2, unit="characters") == pytest.approx(math.sqrt(1 / 3))

    def test_alone(self):
        assert self_bleu(["a"]) is None
