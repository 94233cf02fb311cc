"""Metrics of responses as texts: how varied, how long, how much of a source they copy.

Words are what whitespace separates.  Every function is pure and reads plain texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams of lower-cased words, divided by all n-grams, pooled over the texts.  0 if there is none.

    Li et al. 2016, arXiv:1510.03055, as the dialogue and COMET tasks of A-LoL report it (arXiv:2305.14718).
    """
    grams = [gram for text in texts for gram in _ngrams(text.lower().split(), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def distinct_per_word(texts: Sequence[str], n: int) -> float:
    """Different n-grams, divided by all *words*, pooled over the texts; case counts.  0 if there are no words.

    The assistant task of A-LoL reports this one.  It splits at single spaces, so that "a  b" has an empty word.
    """
    words = [text.split(" ") for text in texts]
    num_words = sum(map(len, words))
    return len({gram for row in words for gram in _ngrams(row, n)}) / num_words if num_words else 0.0


def distinct_ngrams(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words over all n-grams of a text (0 where it has none), on average over texts.

    As Korbak et al. 2023 report it; `distinct_n` pools the texts.
    """
    grams = [list(_ngrams(text.split(), n)) for text in texts]
    return float(np.mean([len(set(of)) / max(len(of), 1) for of in grams])) if grams else 0.0


def ngram_entropy(texts: Sequence[str], n: int) -> float:
    """Shannon entropy of the n-grams of words, pooled over the texts, nats.  0 if there is none."""
    counts = Counter(gram for text in texts for gram in _ngrams(text.split(), n))
    shares = np.array(list(counts.values()), np.float64) / max(counts.total(), 1)
    return float(-(shares * np.log(shares)).sum()) if counts else 0.0


def expected_max(scores: Sequence[float], k: int) -> float | None:
    """The expected maximum of k of the scores drawn without replacement; None if there are fewer.

    Σ_i s_(i)·C(i-1, k-1)/C(n, k) over the sorted scores: the mean over all subsets of k.  The published code
    (`score_max@25`) takes the mean over one partition of the samples into k-tuples, an estimate of the same.
    """
    n = len(scores)
    if not 1 <= k <= n:
        return None
    ordered = np.sort(np.asarray(scores, np.float64))
    # C(i-1, k-1)/C(n, k) for i = n, n-1, …: k/n, then times (i-k)/(i-1) each.
    weights, weight = np.zeros(n), k / n
    for i in range(n, k - 1, -1):
        weights[i - 1] = weight
        weight *= (i - k) / (i - 1) if i > 1 else 0.0
    return float(weights @ ordered)


def response_length(texts: Sequence[str]) -> float:
    """Words of a text, on average.  0 if there is no text."""
    return float(np.mean([len(text.split()) for text in texts])) if texts else 0.0


class Extractiveness(NamedTuple):
    """How much of a text is copied from its source, and in how long pieces.

    coverage: share of the text's words that stand in fragments of the source.  density: mean length of the fragment
    that a word stands in, 0 for a word in none.
    """

    coverage: float
    density: float


def extractiveness(source: str, text: str) -> Extractiveness:
    """Coverage (1/|S|) Σ_f |f| and density (1/|S|) Σ_f |f|² over the fragments f that S shares with its source.

    S are the text's words.  (0, 0) for a text without words.  Grusky et al. 2018, arXiv:1804.11283, eqs. 1 and 2.
    """
    lengths = [len(f) for f in fragments(source, text)]
    num_words = max(len(text.split()), 1)
    return Extractiveness(sum(lengths) / num_words, sum(length**2 for length in lengths) / num_words)


def fragments(source: str, text: str) -> list[list[str]]:
    """The runs of lower-cased words that the text shares with its source, from left to right, each the longest.

    Grusky et al. 2018, fig. 3: at each word of the text the longest run that also stands in the source is a fragment,
    and the search goes on behind it.  (The figure skips what a shorter run covered in the source, and can so miss a
    longer one that overlaps it; here none is missed.)  Runs of one word count; the code published with A-LoL keeps a
    run only if it is longer than the one kept before by more than a word, so that single words never count there.
    """
    article, summary_words = source.lower().split(), text.lower().split()
    starts: dict[str, list[int]] = {}
    for j, word in enumerate(article):
        starts.setdefault(word, []).append(j)
    found, i = [], 0
    while i < len(summary_words):
        longest = max((_shared(summary_words, i, article, j) for j in starts.get(summary_words[i], ())), default=0)
        if longest:
            found.append(summary_words[i : i + longest])
        i += max(longest, 1)
    return found


def summary(responses: Sequence[str], sources: Sequence[str] | None = None) -> dict[str, float]:
    """The metrics of a table: `distinct_1` … `distinct_3`, `words`; with sources also means and standard deviations
    (over texts) of `coverage` and `density`."""
    found = {f"distinct_{n}": distinct_n(responses, n) for n in (1, 2, 3)} | {"words": response_length(responses)}
    if sources is not None and responses:
        rows = np.array([extractiveness(s, r) for s, r in zip(sources, responses, strict=True)])
        for column, name in enumerate(Extractiveness._fields):
            found |= {name: float(rows[:, column].mean()), f"{name}_std": float(rows[:, column].std())}
    return found


def _ngrams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _shared(first: list[str], i: int, second: list[str], j: int) -> int:
    """How many words agree from first[i] and second[j] on."""
    length = 0
    while i + length < len(first) and j + length < len(second) and first[i + length] == second[j + length]:
        length += 1
    return length
