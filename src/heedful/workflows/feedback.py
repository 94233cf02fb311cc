"""From scored samples to what objectives read: preference pairs, rewards and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heedful.scorers import Scorer
from heedful.types import Example, Response

LENGTHS = (0.8, 1.25)
"""A chosen body has this many times the rejected one's characters: a pair must teach neither to be short nor long."""


TENTHS = 10
"""Into how many parts samples are sorted by length, for a reward to be compared within one."""

MOST = 4.0
"""The largest reward: the few long samples that do not fail would outweigh all others."""


@dataclass(frozen=True)
class PairCounts:
    """What became of the prompts: pairs made, prompts without any, and how long both sides are on average."""

    num_prompts: int
    num_pairs: int
    num_prompts_without: int
    chosen_characters: float
    rejected_characters: float
    rejected_failures: float
    """Share of pairs whose rejected body is a failure (empty, unfinished, or no Python), not an untidy one."""


def make_pairs(
    examples: Sequence[Example], scorer: Scorer, *, pairs_per_prompt: int = 2
) -> tuple[list[Example], PairCounts]:
    """Pairs of samples of the same prompt, the better by `scorer` chosen; a failure is never chosen.

    Of a prompt's samples each of the best is paired with an untidy one, or else with a failure, of similar length
    (`LENGTHS`); no body is in two pairs.
    """
    assert scorer.failure is not None
    scores = scorer.examples(examples)
    found: list[tuple[Example, Response, Response, float]] = []
    without = 0
    for example, values in zip(examples, scores, strict=True):
        pairs = _pairs_of(example, [scorer.reward(v) for v in values], scorer.reward(scorer.failure), pairs_per_prompt)
        without += not pairs
        found += [(example, *pair) for pair in pairs]
    failures = sum(above_failure == 0 for *_, above_failure in found)
    counts = PairCounts(
        len(examples),
        len(found),
        without,
        _mean([len(c.text) for _, c, _, _ in found]),
        _mean([len(r.text) for _, _, r, _ in found]),
        failures / max(len(found), 1),
    )
    return [_pair(example, chosen, rejected) for example, chosen, rejected, _ in found], counts


def make_rewards(examples: Sequence[Example], scorer: Scorer) -> list[Example]:
    """The same samples with rewards, and what their prompt is worth.

    A sample is worth its score, from 0 for a failure to 1 for the best there is, over the average of samples of like
    length: 1 is as good as others of its length, and `MOST` the most that anything counts.  (Short code parses more
    often; without this, what is learnt is to be short.)  The samples are the reference policy's own, so the mean of a
    prompt's rewards estimates its value.  Prompts whose samples are all alike say nothing about which is better, and
    are left out.
    """
    assert scorer.failure is not None
    lowest = scorer.reward(scorer.failure)
    worths = [[1 - scorer.reward(score) / lowest for score in scores] for scores in scorer.examples(examples)]
    responses = [response for example in examples for response in example.responses]
    typical = iter(_of_like_length([len(r.text) for r in responses], [worth for group in worths for worth in group]))
    rewarded = []
    for example, group in zip(examples, worths, strict=True):
        rewards = [min(worth / average, MOST) if (average := next(typical)) else 0.0 for worth in group]
        if len(set(rewards)) > 1:
            kept = [replace(r, reward=reward) for r, reward in zip(example.responses, rewards, strict=True)]
            value = {"value": _mean(rewards)}
            rewarded.append(replace(example, responses=kept, source=scorer.name, extra=example.extra | value))
    return rewarded


def _of_like_length(lengths: Sequence[int], worths: Sequence[float]) -> list[float]:
    """For each sample the mean worth of those in its tenth of all lengths."""
    order = sorted(range(len(lengths)), key=lambda k: lengths[k])
    averages = [0.0] * len(order)
    size = -(-len(order) // TENTHS)
    for start in range(0, len(order), size):
        tenth = order[start : start + size]
        average = _mean([worths[k] for k in tenth])
        for k in tenth:
            averages[k] = average
    return averages


def _pairs_of(
    example: Example, rewards: list[float], failure: float, most: int
) -> list[tuple[Response, Response, float]]:
    """(chosen, rejected, how far the rejected is above a failure)."""
    responses = example.responses

    def worth(pair: tuple[int, int]) -> tuple[bool, float, float, tuple[int, int]]:
        """Sorts first what is tidiest against untidy code, which says what is asked for more exactly than a failure
        does but is rarer; then what is closest in length."""
        chosen, rejected = pair
        lengths = (len(responses[chosen].text), len(responses[rejected].text))
        return (rewards[rejected] <= failure, rewards[rejected] - rewards[chosen], max(lengths) / min(lengths), pair)

    possible = [
        (i, j)
        for i in range(len(responses))
        for j in range(len(responses))
        if rewards[i] > max(failure, rewards[j]) and _similar(responses[i], responses[j])
    ]
    pairs: list[tuple[Response, Response, float]] = []
    used: set[int] = set()
    for i, j in sorted(possible, key=worth):
        if len(pairs) < most and used.isdisjoint((i, j)):
            used |= {i, j}
            pairs.append((responses[i], responses[j], rewards[j] - failure))
    return pairs


def _similar(chosen: Response, rejected: Response) -> bool:
    return bool(rejected.text) and LENGTHS[0] * len(rejected.text) <= len(chosen.text) <= LENGTHS[1] * len(
        rejected.text
    )


def _pair(example: Example, chosen: Response, rejected: Response) -> Example:
    return Example(
        example.prompt,
        [Response(r.messages, desirable=good, source=r.source) for r, good in ((chosen, True), (rejected, False))],
        better=0,
        id=example.id,
        source="pep8",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
