"""Self-BLEU: how much every text resembles the others; larger is less varied."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

NUM_REFERENCES = 200
"""Others that a text is compared with."""

EPSILON = 0.1
"""What stands for no match of a length (Chen & Cherry 2014, method 1)."""

Unit = Literal["words", "characters"]


def self_bleu(texts: Sequence[str], n: int = 5, unit: Unit = "words") -> float | None:
    """Mean over texts of the sentence BLEU of each against (the first 200 of) the others; None for fewer than two.

    Uniform weights over n-grams of 1 … n, method-1 smoothing, the closest reference's length.  Zhu et al. 2018,
    arXiv:1802.01886.  Korbak et al. 2023 compare characters, whatever they call it.
    """
    units = [tuple(text.split()) if unit == "words" else tuple(text) for text in texts]
    if len(units) < 2:
        return None
    first = units[: NUM_REFERENCES + 1]  # each of these has the others among them, the rest the first 200
    total = _against(range(len(first)), units, first, n)
    total += _against(range(len(first), len(units)), units, units[:NUM_REFERENCES], n)
    return total / len(units)


def _against(which: range, units: Sequence[tuple[str, ...]], pool: Sequence[tuple[str, ...]], n: int) -> float:
    if not which:
        return 0.0
    best = [_two_largest(pool, length) for length in range(1, n + 1)]
    lengths = sorted(Counter(map(len, pool)).items())
    return sum(_bleu(i, units[i], n, best, lengths, len(pool)) for i in which)


Largest = dict[tuple[str, ...], tuple[int, int, int]]
"""n-gram → its largest count in a text, which text, and the largest count in any other."""


def _two_largest(pool: Sequence[tuple[str, ...]], length: int) -> Largest:
    found: Largest = {}
    for i, text in enumerate(pool):
        for gram, count in _grams(text, length).items():
            first, owner, second = found.get(gram, (0, -1, 0))
            if count > first:
                found[gram] = (count, i, first)
            elif count > second:
                found[gram] = (first, owner, count)
    return found


def _bleu(
    i: int, text: tuple[str, ...], n: int, best: list[Largest], lengths: list[tuple[int, int]], pool: int
) -> float:
    logs = []
    for length in range(1, n + 1):
        grams = _grams(text, length)
        matches = sum(min(count, _among_others(best[length - 1], gram, i)) for gram, count in grams.items())
        if length == 1 and matches == 0:
            return 0.0
        logs.append(math.log((matches or EPSILON) / max(sum(grams.values()), 1)))
    own = len(text)
    others = [size for size, count in lengths if count > 1 or size != own or i >= pool]
    closest = min(others, key=lambda size: (abs(size - own), size))
    brevity = 1.0 if own > closest else math.exp(1 - closest / own)
    return brevity * math.exp(sum(logs) / n)


def _among_others(best: Largest, gram: tuple[str, ...], i: int) -> int:
    first, owner, second = best.get(gram, (0, -1, 0))
    return second if owner == i else first


def _grams(text: tuple[str, ...], length: int) -> Counter[tuple[str, ...]]:
    return Counter(text[start : start + length] for start in range(len(text) - length + 1))
