"""ATOMIC10X: commonsense inferences (head, relation, tail) with the critic's probability that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from heedful.examples.readers.reader import Asked, Reader, lacks, number, one_by_one, others, text
from heedful.examples.rows import OriginRow, Row
from heedful.examples.shape import Dropped
from heedful.types import TEXT, Example, Message, Response

USED = ("head", "relation", "tail", "p_valid_model")
SPLITS = {"eval": "val", "validation": "val"}
"""What the data calls a split that is asked for."""


def prompt_of(head: str, relation: str) -> list[Message]:
    """What COMET reads: the event and the relation to infer, in the marks it was distilled with."""
    return [Message(TEXT, f"<head> {head.strip()} </head> <relation> {relation} </relation> [GEN] ")]


def inference(row: Row) -> Example:
    """A row: its tail answers its head and relation, and the critic's probability is the reward.

    The split the row belongs to, and the event, stand in `extra`.
    """
    head, relation = text(row, "head"), text(row, "relation")
    response = Response([Message(TEXT, text(row, "tail"))], reward=number(row, "p_valid_model"))
    extra = {"head": head, "relation": relation, **others(row, USED)}
    return Example(prompt_of(head, relation), [response], extra=extra)


def _gather(rows: Iterable[OriginRow], asked: Asked) -> Iterator[Example | Dropped]:
    """The rows of the split that is asked for: one file holds all three."""
    wanted = SPLITS.get(asked.split, asked.split)
    for item in one_by_one(inference)(rows, asked):
        split = item.extra.get("split", wanted) if isinstance(item, Example) else wanted
        yield item if split == wanted else Dropped(item.origin, f"it belongs to the split {split}")


ATOMIC = Reader(
    "atomic10x",
    "ATOMIC10X: head, relation, tail, p_valid_model, split",
    lambda row: lacks(row, "head", "relation", "tail", "p_valid_model"),
    inference,
    gather=_gather,
)
