"""Helpful and Harmless pairs with a reward model's scores, from the files of the PRO release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from heedful.examples.shape import Dropped
from heedful.types import Example, UserError
from heedful.workflows.preparations.parts import Parts
from heedful.workflows.preparations.preparation import Preparation, Settings, items_of

TRAIN, DEV, TESTS = "hh_train_len2/train.json", "hh_dev/sampled_dev.json", "hh_test"
SEGMENTS = ("harmless_base", "helpful_base", "helpful_online", "helpful_rejection")


def _hh(settings: Settings, parts: Parts) -> None:
    """train without answers that break off, val, and a test for each segment that is there.

    The rewards are the raw logits that the files hold; a recipe that wants them between 0 and 1 says so
    (`rewards: {data: {normalize: sigmoid}}`).  train-chosen and val-chosen hold the human's choices alone.
    """
    for name, items in (("train", _whole(settings.raw / TRAIN)), ("val", items_of(settings.raw / DEV, "hh-scored"))):
        for item in items:
            parts.put(name, item)
            if isinstance(item, Example):
                parts.put(f"{name}-chosen", _chosen(item))
        parts.refuse_empty(name)
    tests = [path for name in SEGMENTS if (path := settings.raw / TESTS / f"{name}.json").is_file()]
    if not tests:
        raise UserError(f"{settings.raw / TESTS} holds none of {', '.join(f'{name}.json' for name in SEGMENTS)}.")
    for path in tests:
        parts.fill(f"test-{path.stem}", items_of(path, "hh-scored"))


def _whole(path: Path) -> Iterator[Example | Dropped]:
    for item in items_of(path, "hh-scored"):
        cut_off = isinstance(item, Example) and any(r.text.rstrip().endswith(":") for r in item.responses)
        yield Dropped(item.origin, "an answer ends with ':', so it breaks off") if cut_off else item


def _chosen(pair: Example) -> Example:
    best = pair.responses[pair.better or 0]
    return Example(pair.prompt, [best], id=pair.id, source=pair.source, extra=pair.extra)


HH = Preparation(Settings, _hh)
