"""From shaped examples to a token store and the data check's report, in one call; tokenised once, cached by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heedful.examples.io import replacing
from heedful.examples.shape import Dropped, Shaped
from heedful.tokens.check import Data, check
from heedful.tokens.columns import components_of, labels_of
from heedful.tokens.control import CONTROL
from heedful.tokens.encoded import EncodedExample
from heedful.tokens.report import DataReport, Finding
from heedful.tokens.store import META, VERSION, TokenStore
from heedful.tokens.templates import Template
from heedful.tokens.turns import TrainOn
from heedful.types import Example, Message

ENCODING = 3
"""Part of every cache key; raise it when the same input would give other tokens."""
BLOCK = 1024
REPORT = "report.json"

Progress = Callable[[int, int], None]


def prepare(
    shaped: Shaped,
    template: Template,
    *,
    max_length: int,
    max_prompt_length: int | None = None,
    train_on: TrainOn = "last",
    cache_dir: str | Path,
    progress: Progress | None = None,
) -> tuple[TokenStore, DataReport]:
    """Tokenise, store and check `shaped.examples`; with the same input, open what an earlier call stored.

    cache_dir: stores are its sub-folders, named by content.  progress: called with examples done and in all.
    The report counts in = trained + dropped, shaping's drops included; `report.raise_for_errors()` stops a run.
    Every process may call this at once: the first to finish provides the folder.
    """
    settings = {"max_length": max_length, "max_prompt_length": max_prompt_length, "train_on": train_on}

    def write(path: Path) -> tuple[TokenStore, DataReport]:
        tally = _Tally()
        store = TokenStore.write(path, tally.encode(shaped.examples, template, settings, progress), shaped.examples)
        return store, _report(store, shaped.examples, template, settings, tally)

    store, report = kept(Path(cache_dir) / _key(shaped.examples, template, settings), write)
    report.num_in += len(shaped.dropped)
    for dropped in shaped.dropped:
        report.drop(dropped.reason, dropped.origin)
    report.notes = [*shaped.notes, *report.notes]
    assert report.num_in == report.num_trained + report.num_dropped
    return store, report


def kept(path: Path, write: Callable[[Path], tuple[TokenStore, DataReport]]) -> tuple[TokenStore, DataReport]:
    """The store at `path` and its report, as they are there whole; otherwise what `write` makes there."""
    if (path / META).is_file() and (path / REPORT).is_file():
        return TokenStore.open(path), DataReport.from_json(json.loads((path / REPORT).read_text(encoding="utf-8")))
    store, report = write(path)
    with replacing(path / REPORT) as aside:
        aside.write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    return store, report


class _Tally:
    """Encodes block by block and remembers what only the encoder knows."""

    def __init__(self):
        self.dropped: list[Dropped] = []
        self.truncated_rows: set[int] = set()
        self.sequence_lengths: list[int] = []
        self.counts: dict[str, int] = dict.fromkeys(
            (
                "examples without their oldest turns",
                "turns left out",
                "verbatim prompts cut from the left",
                "tokens cut from prompts",
                "documents cut into chunks",
                "chunks of documents",
                "responses tokenised apart from their prompt",
                "mismatched answers cut to fit",
            ),
            0,
        )

    def encode(
        self, examples: Sequence[Example], template: Template, settings: dict[str, Any], progress: Progress | None
    ) -> Iterator[EncodedExample]:
        for start in range(0, len(examples), BLOCK):
            block = examples[start : start + BLOCK]
            for item in template.encode(block, **settings):
                if isinstance(item, EncodedExample):
                    item.row += start
                    self._count(item)
                    yield item
                else:
                    self.dropped.append(item)
            if progress is not None:
                progress(start + len(block), len(examples))

    def _count(self, item: EncodedExample) -> None:
        self.sequence_lengths.append(item.longest)
        if item.dropped_turns or item.cut_tokens or item.num_chunks > 1:
            self.truncated_rows.add(item.row)
        amounts = (
            item.dropped_turns > 0,
            item.dropped_turns,
            item.cut_tokens > 0,
            item.cut_tokens,
            item.num_chunks > 1 and item.chunk == 0,
            item.num_chunks > 1,
            item.retokenised,
            item.cut_mismatched,
        )
        for name, amount in zip(self.counts, amounts, strict=True):
            self.counts[name] += int(amount)


def _report(
    store: TokenStore, examples: Sequence[Example], template: Template, settings: dict[str, Any], tally: _Tally
) -> DataReport:
    report = DataReport(
        num_in=len(examples),
        num_trained=len(np.unique(store.example_rows)),
        num_responses=store.num_responses,
        truncated=tally.counts,
        settings={"template": template.name, **settings},
        digest=store.digest,
    )
    for dropped in tally.dropped:
        report.drop(dropped.reason, dropped.origin)
    if len(store) == 0:
        reasons = "; ".join(f"{reason} ({tally.count:,} ×)" for reason, tally in report.dropped.items())
        sentence = f"no example is left to train on: {reasons or 'there were none'}"
        report.errors.append(Finding("nothing_left", sentence, len(examples)))
        return report
    trained = int(store.trained_offsets[-1])
    report.tokens = {
        "prompt": int(store.prompt_lengths.sum()),
        "response": int(store.response_lengths.sum()),
        "trained": trained,
    }
    lengths = {"sequence": tally.sequence_lengths, "prompt": store.prompt_lengths, "response": store.response_lengths}
    for name, values in lengths.items():
        report.lengths[name] = [int(value) for value in np.quantile(values, (0, 0.5, 0.9, 1), method="higher")]
    found = check(Data(store, examples, template, settings["train_on"], frozenset(tally.truncated_rows)))
    report.errors, report.warnings = found.errors, found.warnings
    return report


def _key(examples: Sequence[Example], template: Template, settings: dict[str, Any]) -> str:
    """32 hexadecimal digits that name the store: of everything that decides its content."""
    digest = hashlib.blake2b(digest_size=16)
    state = [ENCODING, VERSION, template.chat_template, template.vocabulary.digest(), settings]
    digest.update(json.dumps(state, sort_keys=True).encode())
    for example in examples:
        digest.update(json.dumps(_content(example)).encode())
    return digest.hexdigest()


def _content(example: Example) -> list[Any]:
    def spelled(messages: list[Message]) -> list[Any]:
        return [[message.role, message.content, message.trained] for message in messages]

    responses = [
        [spelled(r.messages), r.extra.get(CONTROL), labels_of(example, r, k), components_of(r)]
        for k, r in enumerate(example.responses)
    ]
    return [spelled(example.prompt), responses, example.origin, example.id]
