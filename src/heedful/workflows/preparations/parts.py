"""The files a preparation writes: one a part (train, val, test), and what was left out of each."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from heedful.examples.io import row_of
from heedful.examples.shape import Dropped
from heedful.types import Example, UserError


@dataclass
class Part:
    """One file: how many examples, responses and rewards it holds, and why others are not in it."""

    file: BinaryIO
    examples: int = 0
    responses: int = 0
    rewards: int = 0
    sum_rewards: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def mean_reward(self) -> float | None:
        return round(self.sum_rewards / self.rewards, 6) if self.rewards else None


class Parts:
    """The parts of one preparation, `FOLDER/NAME.jsonl.gz` each; a context that closes their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self._files = ExitStack()

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.close()

    def part(self, name: str) -> Part:
        """The part of that name, its file begun."""
        if name not in self.parts:
            raw = self._files.enter_context((self.folder / f"{name}.jsonl.gz").open("wb"))
            zipped = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
            self.parts[name] = Part(cast(BinaryIO, self._files.enter_context(zipped)))
        return self.parts[name]

    def put(self, name: str, *items: Example | Dropped) -> None:
        """Write examples to a part; count what was left out of it.  Where a row was read from is not written."""
        part = self.part(name)
        for item in items:
            if isinstance(item, Dropped):
                part.dropped[item.reason] += 1
                continue
            row = row_of(item)
            row.pop("origin", None)
            part.file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            rewards = [response.reward for response in item.responses if response.reward is not None]
            part.examples += 1
            part.responses += len(item.responses)
            part.rewards += len(rewards)
            part.sum_rewards += sum(rewards)

    def fill(self, name: str, items: Iterable[Example | Dropped]) -> None:
        """Write all of `items` to a part.  Raises UserError if nothing is left."""
        for item in items:
            self.put(name, item)
        self.refuse_empty(name)

    def refuse_empty(self, name: str) -> None:
        """Raise UserError if a part has no example."""
        part = self.part(name)
        if not part.examples:
            why = "; ".join(f"{count:,} left out: {reason}" for reason, count in part.dropped.items())
            raise UserError(f"nothing is left for {name} ({why or 'its file holds no row'}).")

    def to_json(self) -> dict[str, Any]:
        return {
            name: {
                "file": f"{name}.jsonl.gz",
                "examples": part.examples,
                "responses": part.responses,
                "rewards": part.rewards,
                "mean_reward": part.mean_reward,
                "dropped": dict(part.dropped.most_common()),
            }
            for name, part in self.parts.items()
        }

    def lines(self) -> list[str]:
        """The report as lines for a person."""
        lines = []
        for name, part in self.parts.items():
            mean = "" if part.mean_reward is None else f", mean reward {part.mean_reward:.3f}"
            lines.append(f"{name}: {part.examples:,} examples{mean}")
            lines += [f"  left out {count:,}: {reason}" for reason, count in part.dropped.most_common()]
        return lines
