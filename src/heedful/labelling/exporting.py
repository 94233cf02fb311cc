"""Training data and other tools' files out of a project, with a manifest of what stayed out and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from math import isfinite
from typing import Any

import orjson
from sqlalchemy import Connection

from heedful.config.suggest import did_you_mean
from heedful.examples import spreadsheets
from heedful.examples.io import row_of
from heedful.labelling import manifests
from heedful.labelling.consensus import AGGREGATES, MAJORITY, Aggregate, Decided, decide, gather
from heedful.labelling.database import many_rows
from heedful.labelling.formats import argilla, label_studio, native, public, sheets
from heedful.labelling.formats.examples import to_example
from heedful.labelling.formats.training import Row, Shape, preference, safe_rlhf, unpaired
from heedful.labelling.manifests import KEPT_ASIDE, PAIRS
from heedful.labelling.new_items import response_keys
from heedful.labelling.projects import Project, get_project
from heedful.labelling.questions import HARMS
from heedful.types import UserError

FORMATS: dict[str, str] = {
    "heedful": "our Examples, one an item, with all that was decided",
    "trl": "TRL's preference rows (reward model, DPO): a pair one, a ranking one for each ordered pair",
    "kto": "TRL's unpaired rows, one a response",
    "safe-rlhf": "PKU-SafeRLHF's columns, for reward and cost models",
    "hh": "HH-RLHF's rows: both conversations of a pair, each one text of Human: and Assistant:",
    "oasst": "OpenAssistant's messages, which form trees, with the responses' ranks",
    "arena": "every answer as a battle of FastChat's arena, with the judge's name",
    "arena-55k": "what was decided, in the columns of arena-55k",
    "pairs-csv": "pairs as plain texts for a spreadsheet",
    "answers-csv": "every answer for a spreadsheet, a row each; what import takes back",
    "argilla": "Argilla's records with every answer, and settings.json",
    "label-studio": "Label Studio's tasks with every answer, and its configuration",
    "native": "everything: versions, items, every revision of every answer; what import takes back",
}
CONTRARY, AGAIN = "another item with the same texts came to the contrary", "the same row again"


@dataclass(frozen=True)
class Asked:
    """What to export, and how.

    aggregate: how several answers become one.  min_n: answers that an item must have.  min_confidence: share of votes
    (or posterior) that a decision must have.  include: kinds of items beside the normal ones.  as_of: the answers as
    they were at that time, in seconds since 1970.  without_paused: leave out who is paused.  split: share of the
    prompts that is written apart, as evaluation data.
    """

    format: str = "trl"
    aggregate: str | Aggregate = "majority"
    min_n: int = 1
    min_confidence: float = 0.0
    include: tuple[str, ...] = ()
    as_of: float | None = None
    without_paused: bool = False
    split: float = 0.0
    shape: Shape = field(default_factory=Shape)

    @property
    def needs_people(self) -> bool:
        """Whether rows or decisions depend on who gave which answer."""
        return self.aggregate != MAJORITY or self.is_for_tool or self.is_of_answers

    @property
    def is_for_tool(self) -> bool:
        """Whether another tool gets every answer, with skips, gold and suggestions."""
        return self.format in ("argilla", "label-studio")

    @property
    def is_of_answers(self) -> bool:
        """Whether each answer is a row."""
        return self.format in ("arena", "answers-csv")

    @property
    def is_table(self) -> bool:
        """Whether it is written as CSV."""
        return self.format in ("pairs-csv", "answers-csv")

    @property
    def passes_texts(self) -> bool:
        """Whether texts go into the rows as they are stored."""
        return self.format in ("trl", "kto") and self.shape.style == "explicit" and not callable(self.aggregate)


@dataclass
class Export:
    """lines: the rows of the training part as JSON or CSV, with their ends, the same bytes for the same answers;
    lines_held_out: of the prompts kept apart; files: name → further files' content; header: the first line of CSV."""

    lines: list[bytes]
    lines_held_out: list[bytes]
    manifest: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    header: bytes = b""

    @property
    def content(self) -> bytes:
        """Of the training part's file."""
        return self.header + b"".join(self.lines)

    @property
    def media_type(self) -> str:
        """Of `content`."""
        return "text/csv; charset=utf-8" if self.header else "application/x-ndjson"

    @cached_property
    def rows(self) -> list[Row]:
        """Of the training part, which is JSON."""
        return [*map(orjson.loads, self.lines)]

    @cached_property
    def held_out(self) -> list[Row]:
        """Of the prompts kept apart."""
        return [*map(orjson.loads, self.lines_held_out)]


def _spelled(rows: Iterable[Row]) -> list[bytes]:
    return [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]


def check_asked(asked: Asked) -> None:
    """Raises UserError for what cannot be exported."""
    if asked.format not in FORMATS:
        near = did_you_mean(asked.format, list(FORMATS))
        raise UserError(f"no format is called {asked.format!r}{near} (there are: {', '.join(FORMATS)}).")
    if isinstance(asked.aggregate, str) and asked.aggregate not in AGGREGATES:
        raise UserError(f"aggregate must be {', '.join(AGGREGATES)} or path.py:function, not {asked.aggregate!r}.")
    unknown = set(asked.include) - set(KEPT_ASIDE)
    if unknown:
        raise UserError(f"include must be some of {', '.join(KEPT_ASIDE)}, not {', '.join(sorted(unknown))}.")
    if asked.as_of is not None and not isfinite(asked.as_of):
        raise UserError("as_of must be a time in seconds since 1970.")
    if not 0 <= asked.split < 1:
        raise UserError(f"split must be from 0 to below 1, a share of the prompts, not {asked.split:g}.")
    if not 0 <= asked.min_confidence <= 1 or asked.min_n < 1:
        raise UserError("min_confidence must be 0 to 1, and min_n at least 1.")


def export(connection: Connection, slug: str, asked: Asked) -> Export:
    """The rows and the manifest.  The order is that of the items, and the bytes depend on nothing but the answers.

    Raises UserError for what cannot be exported, and where nothing can.
    """
    check_asked(asked)
    found = get_project(connection, slug)
    if asked.format == "native":
        return _native(connection, found)
    if asked.format == "kto" and asked.shape.labels_from == "thumbs" and found.questions.thumbs is None:
        raise UserError(
            f"{slug} asks for no thumbs, which label kto's rows; with labels from preference winners are good ones."
        )
    kinds = ("normal", *asked.include)
    with many_rows():
        return _export(connection, found, asked, kinds)


def _export(connection: Connection, found: Project, asked: Asked, kinds: Sequence[str]) -> Export:
    items = gather(
        connection,
        found,
        kinds=kinds,
        as_of=asked.as_of,
        without_paused=asked.without_paused,
        people=asked.needs_people,
        times=asked.format == "label-studio" or asked.is_of_answers or callable(asked.aggregate),
        spelled=asked.passes_texts,
        beside=asked.is_for_tool,
    )
    decide(connection, found, items, asked.aggregate, as_of=asked.as_of)
    reasons: Counter[str] = Counter()
    doubled: Counter[str] = Counter()
    kept = list(_thresholds(items, asked, reasons))
    files: dict[str, str] = {}
    if asked.is_for_tool:
        tool = argilla if asked.format == "argilla" else label_studio
        groups = [(one, [row]) for one, row in zip(kept, tool.rows(found, kept), strict=True)]
        files = tool.files(found, kept)
    else:
        groups = list(_made(found, kept, asked, reasons))
        if asked.format in ("kto", *PAIRS):
            groups = _without_doubles(groups, asked, reasons, doubled)
    rows, held_out = _split(groups, asked.split)
    manifest = manifests.whole(connection, found, asked, items, groups, reasons)
    if doubled:
        manifest["rows_left_out"] = dict(sorted(doubled.items()))
    if asked.format == "kto":
        labels = Counter(row["label"] for row in rows)
        manifest["labels"] = {"desirable": labels[True], "undesirable": labels[False]}
    if asked.is_table and groups:
        header, *lines = spreadsheets.lines([*rows, *held_out])
        return sealed(lines[: len(rows)], lines[len(rows) :], manifest, files, header)
    return sealed(_spelled(rows), _spelled(held_out), manifest, files)


def sealed(
    lines: list[bytes],
    held_out: list[bytes],
    manifest: dict[str, Any],
    files: dict[str, str] | None = None,
    header: bytes = b"",
) -> Export:
    """An export whose manifest has the numbers of its rows, and their files' hashes."""
    rows = {"train": len(lines), "held_out": len(held_out)}
    hashes = {"train": _sha256([header, *lines]), "held_out": _sha256([header, *held_out])}
    return Export(lines, held_out, {**manifest, "rows": rows, "sha256": hashes}, files or {}, header)


def _thresholds(items: Sequence[Decided], asked: Asked, reasons: Counter[str]) -> Iterator[Decided]:
    for one in items:
        if one.n < asked.min_n and one.method != "adjudicated":
            is_known = asked.min_n == 1 and (one.beside.skips or one.beside.gold)  # only tools' files have those
            if not is_known:
                reasons["nobody answered it" if one.n == 0 else f"fewer than {asked.min_n} answers"] += 1
                continue
        if asked.min_confidence:
            _forget_unsure(one, asked.min_confidence)
        yield one


def _forget_unsure(one: Decided, least: float) -> None:
    one.own()
    for name in [name for name, share in one.confidence.items() if share < least]:
        if name in one.value:
            del one.value[name]
            one.undecided[name] = f"confidence below {least:g}"


def _made(
    found: Project, kept: Sequence[Decided], asked: Asked, reasons: Counter[str]
) -> Iterator[tuple[Decided, list[Row]]]:
    if asked.format == "heedful":
        for one in kept:
            yield one, [row_of(to_example(one, found.questions))]
        return
    make: dict[str, Callable[[Decided, Shape], list[Row] | str]]
    make = {"trl": preference, "kto": unpaired, "hh": public.dialogues, "oasst": public.messages}
    make |= {"arena-55k": public.battle, "pairs-csv": sheets.pairs}
    make["arena"] = partial(public.votes, blind=found.settings.blind)
    if asked.format == "safe-rlhf":
        make[asked.format] = partial(safe_rlhf, harms=_harms(found, kept))
    if asked.format == "answers-csv":
        keys = response_keys(max((len(one.responses) for one in kept), default=1))
        make[asked.format] = partial(sheets.answers, asked=sheets.columns(found.questions, keys), keys=keys)
    for one in kept:
        rows = make[asked.format](one, asked.shape)
        if isinstance(rows, str):
            reasons[rows] += 1
        else:
            yield one, rows


def _harms(found: Project, kept: Sequence[Decided]) -> list[str]:
    """Every row has all categories: PKU-SafeRLHF's, the project's own, and those that an earlier version had."""
    asked = () if found.questions.safety is None else found.questions.safety.harms
    judged = chain.from_iterable(one.value.get("safety", {}).values() for one in kept)
    named = sorted({harm for safety in judged for harm in safety["harms"]})
    return list(dict.fromkeys([*HARMS, *asked, *named]))


def _without_doubles(
    groups: Sequence[tuple[Decided, list[Row]]], asked: Asked, reasons: Counter[str], doubled: Counter[str]
) -> list[tuple[Decided, list[Row]]]:
    """A pair that stands there twice counts once; of pairs that contradict one another none is kept.

    reasons: counts items of which nothing is left.  doubled: counts rows that the others lost.
    """
    often = Counter(one.group for one, _ in groups)
    # By the prompts: other styles may write two of them alike.
    is_told_apart = asked.shape.style == "explicit" and asked.format in ("trl", "kto")
    identities = [
        [] if is_told_apart and often[one.group] == 1 else [_identity(row) for row in rows] for one, rows in groups
    ]
    first: dict[bytes, bytes] = {}
    contradicted: set[bytes] = set()
    for both, way in chain.from_iterable(identities):
        if first.setdefault(both, way) != way:
            contradicted.add(both)
    seen: set[bytes] = set()
    kept = []
    for (one, rows), named in zip(groups, identities, strict=True):
        if not named:
            kept.append((one, rows))
            continue
        left, lost = [], Counter[str]()
        for row, (both, way) in zip(rows, named, strict=True):
            if both in contradicted:
                lost[CONTRARY] += 1
            elif way in seen:
                lost[AGAIN] += 1
            else:
                seen.add(way)
                left.append(row)
        if left:
            kept.append((one, left))
            doubled.update(lost)
        else:
            reasons[CONTRARY if CONTRARY in lost else AGAIN] += 1
    return kept


def _identity(row: Row) -> tuple[bytes, bytes]:
    """Of a row: its texts without and with what is said of them."""
    prompt = orjson.dumps(row.get("prompt"))
    if "completion" in row:
        texts = prompt + orjson.dumps(row["completion"])
        return texts, texts + (b"up" if row["label"] else b"down")
    if "chosen" not in row:
        whole = orjson.dumps({name: value for name, value in row.items() if name != "meta"})
        return whole, whole
    chosen, rejected = orjson.dumps(row["chosen"]), orjson.dumps(row["rejected"])
    return prompt + min(chosen, rejected) + max(chosen, rejected), prompt + chosen + rejected


def _split(groups: Sequence[tuple[Decided, list[Row]]], share: float) -> tuple[list[Row], list[Row]]:
    """By prompt, never by row: a prompt is on one side with everything that was said of it."""
    if share == 0:
        return [row for _, rows in groups for row in rows], []
    train, held_out = [], []
    for one, rows in groups:
        number = int.from_bytes(hashlib.blake2b(one.group.encode(), digest_size=8).digest(), "big")
        (held_out if number / 2**64 < share else train).extend(rows)
    return train, held_out


def _native(connection: Connection, found: Project) -> Export:
    """Everything there is, whatever else was asked."""
    kinds: Counter[str] = Counter()
    given: Counter[tuple[str, int]] = Counter()  # current answers, by who gave them in which version
    times: list[float] = []

    def counted() -> Iterator[Row]:
        for row in native.rows(connection, found):
            kinds[row["kind"]] += 1
            if row["kind"] == "answer" and row["is_current"]:
                given[row["username"], row["project_version"]] += 1
                times.append(row["submitted_at"])
            yield row

    with many_rows():
        lines = _spelled(counted())
    manifest = {
        **manifests.head(found, Asked("native")),
        "newest_answer": max(times, default=None),
        "versions": sorted({version for _, version in given}),
        "items": {"in": kinds["item"], "out": kinds["item"]},
        "left_out": {},
        "answers": given.total(),
        "labellers": len({who for who, _ in given}),
        "kinds": dict(sorted(kinds.items())),
    }
    return sealed(lines, [], manifest)


def _sha256(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()
