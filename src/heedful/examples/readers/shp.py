"""Stanford Human Preferences: two comments under one post, the one with more votes preferred."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from heedful.examples.conversation import RowError
from heedful.examples.readers.reader import Asked, Reader, integer, lacks, name, number, one_by_one, others, text
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import Example, Message, Response

SMALLEST_RATIO = 2
"""On the training split, how many times the other comment's votes the better one must have."""
MOST_PAIRS = 5
"""On the training split, pairs of one post."""
USED = ("history", "human_ref_A", "human_ref_B", "labels", "score_A", "score_B", "post_id", "domain")


def _pair(row: Row) -> Example:
    """A row; the comments' votes are their rewards."""
    label = integer(row, "labels")
    if label not in (0, 1):
        raise RowError(f"column 'labels' must be 1 (A is better) or 0, not {label}")
    responses = [
        Response([Message("assistant", text(row, f"human_ref_{which}"))], reward=number(row, f"score_{which}"))
        for which in "AB"
    ]
    prompt = [Message("user", text(row, "history"))]
    extra = others(row, USED)
    return Example(
        prompt, responses, better=1 - label, id=name(row, "post_id"), source=name(row, "domain"), extra=extra
    )


def _gather(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    """The training split without close calls and with at most `MOST_PAIRS` a post; other splits whole.

    Ethayarajh et al. 2022, PMLR 162, and the settings of Archangel.
    """
    pairs = one_by_one(_pair)(rows, asked)
    if not asked.is_train:
        yield from pairs
        return
    posts: dict[str, list[Example]] = {}
    for pair in pairs:
        if isinstance(pair, Example) and _clear(pair):
            posts.setdefault(pair.prompt[0].content, []).append(pair)
        elif isinstance(pair, Example):
            yield Dropped(pair.origin, f"the better comment has less than {SMALLEST_RATIO} times the other's votes")
        else:
            yield pair
    for post, its_pairs in posts.items():
        yield from _drawn(its_pairs, f"{asked.seed} {post}")


def _clear(pair: Example) -> bool:
    votes = sorted(response.reward or 0.0 for response in pair.responses)
    return votes[1] >= SMALLEST_RATIO * votes[0]


def _drawn(pairs: list[Example], seed: str) -> Iterator[Example | Dropped]:
    """All of a few pairs, a draw of many; a post's draw depends on the seed and the post alone."""
    kept = set(random.Random(seed).sample(range(len(pairs)), min(MOST_PAIRS, len(pairs))))
    for index, pair in enumerate(pairs):
        yield pair if index in kept else Dropped(pair.origin, f"a post has more than {MOST_PAIRS} pairs")


SHP = Reader(
    "shp",
    "Stanford Human Preferences: history, human_ref_A, human_ref_B, labels; of the training split clear wins only",
    lambda row: lacks(row, "history", "human_ref_A", "human_ref_B", "labels"),
    _pair,
    gather=_gather,
)
