"""Mixtures of sources, `NAME[:PROPORTION[:PATH]]`, and how a proportion of a source is drawn.

The grammar, in full:

    item        = NAME [":" PROPORTION [":" PATH]]
    NAME        = a reader, a hub name (org/name[/config][@revision][#split]) or a path (may end in #split)
    PROPORTION  = "" | number | number "/" number | count "/-1"
    PATH        = what the reader NAME reads: a path or a hub name

- PROPORTION: empty is 1; `a/b` is that fraction; `n/-1` is exactly n examples; 0 leaves the source out; more than
  1 repeats it (2.35 is everything twice and 35 % of it once more).
- An item that is, as a whole, an existing file or folder is that path.  Otherwise PROPORTION is the first field
  after the first colon that is empty or a number, what stands before it is NAME and what stands after it is PATH: so
  colons in either are part of it (`C:\\data\\a.jsonl`, `hh-raw::/data/2024:05.jsonl`).
- Where this is not enough (a NAME with a number between colons), an item may be a mapping:
  `{name: ..., proportion: ..., path: ...}`.
- A mixture is one item or a list of them; the same NAME with the same PATH may not stand in it twice.

Drawing is seeded: item i of the list draws with `default_rng(SeedSequence(seed).spawn(i + 1)[i])`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heedful.types import UserError

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
FIELD = re.compile(rf"({NUMBER.pattern})(/({NUMBER.pattern}))?|[+-]?(inf|nan)", re.IGNORECASE)
KEYS = ("name", "proportion", "path")


@dataclass(frozen=True)
class MixtureItem:
    """One source of a mixture.

    proportion: of its examples; ignored where `count` is set.
    count: exactly so many of its examples.
    path: what the reader `name` reads; None where `name` is itself the source.
    """

    name: str
    proportion: float = 1.0
    count: int | None = None
    path: str | None = None

    @property
    def is_dropped(self) -> bool:
        return self.count == 0 if self.count is not None else self.proportion == 0

    def __str__(self) -> str:
        share = f"{self.count}/-1" if self.count is not None else "" if self.proportion == 1 else f"{self.proportion:g}"
        return self.name + (f":{share}:{self.path}" if self.path else f":{share}" if share else "")


def parse_mixture(data: Any, exists: Callable[[str], bool] = lambda text: False) -> list[MixtureItem]:
    """The items of a mixture: a text, a mapping, or a list of them.

    exists: whether a text is an existing path.
    Raises UserError for an item the grammar does not know, an empty mixture, and the same source twice.
    """
    entries = list(data) if isinstance(data, Sequence) and not isinstance(data, str) else [data]
    items = [parse_item(entry, exists) for entry in entries]
    if not items:
        raise UserError("data: the list of sources is empty; name at least one file, folder or hub data set.")
    seen: set[tuple[str, str | None]] = set()
    for item in items:
        if (item.name, item.path) in seen:
            raise UserError(f"data: {item.name!r} stands in the mixture twice; to repeat it give a proportion above 1.")
        seen.add((item.name, item.path))
    return items


def parse_item(entry: Any, exists: Callable[[str], bool] = lambda text: False) -> MixtureItem:
    """One item of a mixture; see the module for the grammar."""
    if isinstance(entry, Mapping):
        return _mapping(entry)
    if not isinstance(entry, str) or not entry.strip():
        raise UserError(f"data: a source must be NAME[:PROPORTION[:PATH]], not {entry!r}.")
    if exists(entry):
        return MixtureItem(entry)
    fields = entry.split(":")
    at = next((i for i, text in enumerate(fields) if i and (not text or FIELD.fullmatch(text))), None)
    if at is None:
        return MixtureItem(entry)
    name, path = ":".join(fields[:at]), ":".join(fields[at + 1 :])
    if not name:
        raise UserError(f"data: {entry!r} has no NAME before the first colon.")
    if not path and at + 1 < len(fields):
        raise UserError(f"data: {entry!r} ends with an empty PATH; leave the last colon out.")
    return _item(name, fields[at], path or None, entry)


def _mapping(entry: Mapping[str, Any]) -> MixtureItem:
    unknown = [key for key in entry if key not in KEYS]
    if unknown or "name" not in entry:
        raise UserError(f"data: a source has a name, and may have a proportion and a path; this is {dict(entry)!r}.")
    path = entry.get("path")
    return _item(str(entry["name"]), str(entry.get("proportion", "")), None if path is None else str(path), dict(entry))


def _item(name: str, share: str, path: str | None, entry: Any) -> MixtureItem:
    if share and not FIELD.fullmatch(share):
        raise UserError(f"data: the proportion {share!r} of {entry!r} is no number, fraction a/b or count n/-1.")
    numerator, _, denominator = share.partition("/")
    top, bottom = float(numerator or 1), float(denominator or 1)
    if bottom == -1:
        if top < 0 or top != int(top):
            raise UserError(f"data: {entry!r} asks for {numerator} examples; n in n/-1 is a whole number, 0 or more.")
        return MixtureItem(name, count=int(top), path=path)
    proportion = top / bottom if bottom else math.nan
    if not 0 <= proportion < math.inf:
        raise UserError(f"data: the proportion {share!r} of {entry!r} must be a finite number, 0 or more.")
    return MixtureItem(name, proportion, path=path)


def draw(num_examples: int, item: MixtureItem, index: int, seed: int) -> np.ndarray:
    """Which of a source's examples an item takes: k = round(n * proportion), or `count`, in all.

    Everything in order as often as k holds it, and of the rest a draw without replacement, in the order drawn.
    index: the item's place in the list.
    """
    k = round(num_examples * item.proportion) if item.count is None else item.count
    if k and not num_examples:
        raise UserError(f"data: {item} holds no examples to draw from.")
    repeats, rest = divmod(k, num_examples) if k else (0, 0)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(index + 1)[index])
    once = np.arange(num_examples)
    return np.concatenate([np.tile(once, repeats), rng.choice(num_examples, rest, replace=False) if rest else once[:0]])
