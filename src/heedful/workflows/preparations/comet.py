"""Commonsense inferences for COMET: ATOMIC10X with its critic's scores, and the test set of ATOMIC2020."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from heedful.examples.readers.atomic import inference, prompt_of
from heedful.examples.readers.reader import Asked, one_by_one
from heedful.examples.rows import rows_of
from heedful.examples.shape import Dropped
from heedful.types import TEXT, Example, Message, Response, UserError
from heedful.workflows.preparations.parts import Parts
from heedful.workflows.preparations.preparation import Preparation, Settings

ATOMIC10X, ATOMIC2020 = "ATOMIC10X.jsonl", "test.tsv"
RELATIONS = ("HinderedBy", "xNeed", "xWant", "xIntent", "xReact", "xAttr", "xEffect")
PARTS = {"train": "train", "val": "val", "test": "test-atomic10x"}


class CometSettings(Settings):
    val: int = Field(10_000, gt=0, description="how many rows of the validation split to draw")


def _comet(settings: CometSettings, parts: Parts) -> None:
    """train, a draw of val and test-atomic10x by the split each row names, and test from ATOMIC2020.

    The critic's probability that an inference is valid is its reward.
    """
    held_out: list[Example] = []
    for item in one_by_one(inference)(rows_of(settings.raw / ATOMIC10X), Asked()):
        split = item.extra.pop("split", None) if isinstance(item, Example) else "train"
        if split not in PARTS:
            raise UserError(f"{item.origin}: the split must be one of {', '.join(PARTS)}, not {split!r}.")
        if split == "val" and isinstance(item, Example):
            held_out.append(item)
        else:
            parts.put(PARTS[split], item)
    kept = set(random.Random(settings.seed).sample(range(len(held_out)), min(settings.val, len(held_out))))
    left_out = Dropped(None, f"more than the {settings.val:,} that are drawn")
    parts.fill("val", (item if index in kept else left_out for index, item in enumerate(held_out)))
    parts.refuse_empty("train")
    parts.fill("test", _atomic2020(settings.raw / ATOMIC2020))


def _atomic2020(path: Path) -> Iterator[Example | Dropped]:
    """An Example for each event and relation, with all its tails; no critic has judged them."""
    grouped: dict[tuple[str, str], Example] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: a row must be head, relation and tail between tabs, not {line[:40]!r}.")
        head, relation, tail = (field.strip() for field in fields)
        if relation not in RELATIONS:
            yield Dropped(f"{path}:{number}", "a relation that ATOMIC10X does not have")
            continue
        first = Example(prompt_of(head, relation), [], extra={"head": head, "relation": relation})
        grouped.setdefault((head, relation), first).responses.append(Response([Message(TEXT, tail)]))
    yield from grouped.values()


COMET = Preparation(CometSettings, _comet)
