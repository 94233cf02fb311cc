"""From `data=` to Examples: the mixture, its sources and their readers, with a count of every row."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from heedful.config.suggest import did_you_mean
from heedful.examples.hub import parse_hub_name
from heedful.examples.mixture import MixtureItem, draw, parse_mixture
from heedful.examples.readers import READERS, Reader, detect, find, registry
from heedful.examples.readers.reader import Asked, at, examples_of
from heedful.examples.rows import OriginRow
from heedful.examples.shape import Dropped
from heedful.examples.sources import exists, missing_in, near_path, open_source, split_of
from heedful.types import Example, UserError

MANY_TIMES = 10
"""Repetitions from which on a proportion was more likely meant as a count."""

NAMED = 3
"""As many are named where there may be many."""


@dataclass
class SourceReport:
    """What became of one source; `taken` of the examples went into the mixture.

    rows = examples + dropped, but for readers to which rows belong together (trees, dialogues).
    """

    source: str
    readers: list[str] = field(default_factory=list)
    rows: int = 0
    examples: int = 0
    taken: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first_dropped: dict[str, str] = field(default_factory=dict)
    """Where each reason was met first."""
    empty_files: list[str] = field(default_factory=list)
    """Files that hold no row."""
    not_scored: int = 0
    """Documents that are not there because `heed score` could not score them."""
    first_not_scored: list[str] = field(default_factory=list)
    note: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it was read, and every file of it holds no row."""
        return not self.rows and bool(self.empty_files)

    def miss(self, document: str) -> None:
        """Count a document that could not be scored."""
        self.not_scored += 1
        if self.not_scored <= NAMED:
            self.first_not_scored.append(document)

    def drop(self, reason: str, origin: str) -> None:
        self.dropped[reason] += 1
        self.first_dropped.setdefault(reason, origin)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `data.json`."""
        counts = {"rows": self.rows, "examples": self.examples, "taken": self.taken, "dropped": dict(self.dropped)}
        notes = {"empty_files": self.empty_files, "not_scored": self.not_scored, "note": self.note}
        return {"source": self.source, "readers": self.readers, **counts, **notes}

    def lines(self) -> list[str]:
        """The report as lines for a person."""
        head = f"{self.source}: {self.rows:,} rows read as {' and '.join(self.readers) or 'nothing'}"
        taken = "" if self.taken == self.examples else f", {self.taken:,} taken"
        dropped = [
            f"  dropped {count:,}: {reason} (first at {self.first_dropped[reason]})"
            for reason, count in self.dropped.most_common()
        ]
        return [f"{head}, {self.examples:,} examples{taken}", *dropped, *self._notes()]

    def _notes(self) -> list[str]:
        times = self.taken // max(self.examples, 1)
        repeated = f"warning: every example stands there {times:,} times; for {times:,} examples write {times}/-1"
        notes = [repeated] if times >= MANY_TIMES else []
        if self.empty_files:
            notes.append(f"warning: {len(self.empty_files):,} empty, without a row: {_some(self.empty_files)}")
        if self.not_scored:
            first = "; ".join(self.first_not_scored) + ("; …" if self.not_scored > NAMED else "")
            notes.append(f"warning: {self.not_scored:,} left out by heed score: {first}")
        return [f"  {note}" for note in [*notes, *([self.note] if self.note else [])]]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


@dataclass
class LoadReport:
    """The sources of a mixture, in its order."""

    sources: list[SourceReport] = field(default_factory=list)

    def refuse_nothing(self) -> None:
        """Raise UserError if no source holds a row."""
        if self.sources and all(source.is_empty for source in self.sources):
            names = [source.source for source in self.sources]
            what = "holds no example; it is empty" if len(names) == 1 else "hold no example; every one is empty"
            raise UserError(f"{_some(names)} {what}.")

    def to_json(self) -> list[dict[str, Any]]:
        return [source.to_json() for source in self.sources]

    def lines(self) -> list[str]:
        return [line for source in self.sources for line in source.lines()]


def load(
    data: Any, *, split: str = "train", seed: int = 0, readers: Sequence[str] = (), reader: str | None = None
) -> list[Example]:
    """The Examples of a mixture (see `mixture`), in its order.

    data: a file, folder, hub name, reader, `NAME[:PROPORTION[:PATH]]`, a mapping, or a list of these.
    split: `train`, `eval` (the validation split, or else the test split) or a split's own name.
    seed: the run's seed; it decides which examples a proportion takes.
    readers: the user's own readers, `FILE.py:FUNCTION`.
    reader: the reader of every source that names none; without it each file's first row decides.
    Raises UserError for anything that cannot be read, naming the file and line.
    """
    return load_with_report(data, split=split, seed=seed, readers=readers, reader=reader)[0]


def load_with_report(
    data: Any, *, split: str = "train", seed: int = 0, readers: Sequence[str] = (), reader: str | None = None
) -> tuple[list[Example], LoadReport]:
    """As `load`, with what became of every row of every source."""
    known = registry(readers)
    report = LoadReport()
    examples: list[Example] = []
    for index, item in enumerate(parse_mixture(data, exists)):
        if item.is_dropped:
            continue
        source = SourceReport(str(item))
        report.sources.append(source)
        own = list(_read_item(item, Asked(split, seed), known, reader, source))
        if source.is_empty:
            continue
        if not own:
            raise UserError(f"{item} holds no example{_reasons(source)}.")
        taken = draw(len(own), item, index, seed).tolist()
        source.taken = len(taken)
        examples.extend(own[i] for i in taken)
    report.refuse_nothing()
    if not examples:
        raise UserError("data: every source of the mixture has the proportion 0; nothing is left.")
    return examples, report


def read_mixture(
    data: Any,
    *,
    split: str = "train",
    seed: int = 0,
    readers: Sequence[str] = (),
    reader: str | None = None,
    report: LoadReport | None = None,
) -> Iterator[Example | Dropped]:
    """As `load`, one after the other, never all in memory, with what is left out where it was met.

    Of a source with a proportion the same examples are taken as by `load`, in the order of the source: it is read once
    to count them, and once more.  report: is filled in while one reads.
    """
    known, asked = registry(readers), Asked(split, seed)
    report = report if report is not None else LoadReport()
    for index, item in enumerate(parse_mixture(data, exists)):
        if item.is_dropped:
            continue
        times: Counter[int] | None = None
        if item.count is not None or item.proportion != 1:
            whole = (one for one in _read_all(item, asked, known, reader, SourceReport("")) if isinstance(one, Example))
            num = sum(1 for _ in whole)
            times = Counter(draw(num, item, index, seed).tolist() if num else [])
        source = SourceReport(str(item))
        report.sources.append(source)
        place = 0
        for one in _read_all(item, asked, known, reader, source):
            if isinstance(one, Dropped):
                yield one
                continue
            for _ in range(1 if times is None else times[place]):
                source.taken += 1
                yield one
            place += 1
        if not source.examples and not source.is_empty:
            raise UserError(f"{item} holds no example{_reasons(source)}.")
    report.refuse_nothing()


def read(
    where: str,
    *,
    split: str = "train",
    seed: int = 0,
    readers: Mapping[str, Reader] = READERS,
    reader: str | None = None,
) -> Iterator[Example]:
    """The Examples of one source, one after the other: a file, folder, hub name or a user's reader."""
    return _read_item(MixtureItem(where), Asked(split, seed), readers, reader, SourceReport(where))


def _reasons(source: SourceReport) -> str:
    if not source.dropped:
        return "; it is empty"
    return ": " + "; ".join(
        f"{count} dropped: {reason} (first at {source.first_dropped[reason]})"
        for reason, count in source.dropped.most_common()
    )


def _read_item(
    item: MixtureItem, asked: Asked, known: Mapping[str, Reader], default: str | None, report: SourceReport
) -> Iterator[Example]:
    return (one for one in _read_all(item, asked, known, default, report) if isinstance(one, Example))


def _read_all(
    item: MixtureItem, asked: Asked, known: Mapping[str, Reader], default: str | None, report: SourceReport
) -> Iterator[Example | Dropped]:
    """A source's examples, and what its reader leaves out, which is counted in the report."""
    named = known.get(item.name) if not exists(item.name) else None
    if named is not None and named.rows is not None:
        rows = enumerate(named.rows(asked.split, item.path), start=1)
        yield from _convert(((f"{item.name}: row {n}", row) for n, row in rows), named, known, report, asked)
        return
    where = item.path if named else item.name
    if where is None:
        raise UserError(f"the reader {item.name!r} needs a path: {item.name}::PATH.")
    if item.path is not None and named is None:
        raise UserError(_no_reader(item, known))
    if named is None and not exists(where) and parse_hub_name(where) is None:
        raise UserError(_no_source(where, known))
    chosen = named or (find(default, known) if default else None)
    for document in missing_in(where):
        report.miss(document)
    documents = chosen is not None and chosen.name == "text"
    unreadable = deque[Dropped]()
    rows, report.note = open_source(
        where,
        asked.split,
        documents=documents,
        on_empty=report.empty_files.append,
        on_unreadable=lambda origin, reason: unreadable.append(Dropped(origin, reason)),
    )
    asked = Asked(split_of(where, asked.split), asked.seed)
    for one in _convert(rows, chosen, known, report, asked):
        yield from _told(unreadable, report)
        yield one
    yield from _told(unreadable, report)


def _told(unreadable: deque[Dropped], report: SourceReport) -> Iterator[Dropped]:
    """The rows that could not be read since one was last told of them, counted as any other that is left out."""
    while unreadable:
        one = unreadable.popleft()
        report.rows += 1
        report.drop(one.reason, one.origin or "an unknown row")
        yield one


def _no_reader(item: MixtureItem, known: Mapping[str, Reader]) -> str:
    near = did_you_mean(item.name, known)
    return f"data: in NAME:PROPORTION:PATH, NAME must be a reader, and {item.name!r} is none{near or '.'}"


def _no_source(where: str, known: Mapping[str, Reader]) -> str:
    first, colon, rest = where.partition(":")
    if colon and (first in known or exists(first)):
        mend = f"; for a path after a reader write {first}::{rest}" if first in known else ""
        return f"data: {rest.split(':')[0]!r} in {where!r} is no proportion (a number, a/b or n/-1){mend}."
    near = did_you_mean(where, known) or near_path(where)
    return f"data: {where!r} is no file or folder, no reader and no hub name (org/name){near or '.'}"


def _convert(
    rows: Iterator[tuple[str, Any]],
    reader: Reader | None,
    known: Mapping[str, Reader],
    report: SourceReport,
    asked: Asked,
) -> Iterator[Example | Dropped]:
    """Rows to Examples and what is left out, a stretch of rows of one reader after the other."""
    for chosen, stretch in groupby(_with_reader(rows, reader, known, report), key=lambda found: found[0]):
        for item in examples_of(chosen, (row for _, row in stretch), asked):
            reason = item.reason if isinstance(item, Dropped) else _half_a_character(item)
            if reason is not None:
                report.drop(reason, item.origin or "an unknown row")
                yield Dropped(item.origin, reason)
            elif isinstance(item, Example):
                report.examples += 1
                yield item


def _with_reader(
    rows: Iterator[tuple[str, Any]], reader: Reader | None, known: Mapping[str, Reader], report: SourceReport
) -> Iterator[tuple[Reader, OriginRow]]:
    """Each row with its reader.  Where none was named, the first row of every file chooses one."""
    chosen, file = reader, None
    for origin, row in rows:
        report.rows += 1
        if reader is None and (chosen is None or _file(origin) != file):
            with at(origin):
                file, chosen = _file(origin), detect(row, known)
        assert chosen is not None
        if chosen.name not in report.readers:
            report.readers.append(chosen.name)
        yield chosen, (origin, row)


def _file(origin: str) -> str:
    """The file of an origin: `a.jsonl` of `a.jsonl:12` and `a.parquet` of `a.parquet: row 12`."""
    return origin.rpartition(":")[0] or origin


def _half_a_character(example: Example) -> str | None:
    """Why an example is left out whose JSON held halves of characters, which no tokenizer takes."""
    for messages in (example.prompt, *(response.messages for response in example.responses)):
        for message in messages:
            try:
                message.content.encode()
            except UnicodeEncodeError:
                return "a text with half a character (a lone surrogate)"
    return None
