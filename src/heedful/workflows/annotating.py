"""`heed score` on documents: shards of a corpus, scored in parallel, each written whole or not at all.  Top to bottom.

The folder holds `part-00000.jsonl` (or `.parquet`) …, which every reader reads, and in `.score/` what was asked, a line
for every finished shard, and the documents that could not be scored.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from heedful.config import ScoreConfig
from heedful.examples import LoadReport
from heedful.examples.documents import documents_of
from heedful.examples.io import replacing, unwritable, write_rows
from heedful.examples.loading import read_mixture
from heedful.examples.not_scored import BOOKS, FAILED
from heedful.examples.shape import Dropped
from heedful.progress import duration
from heedful.scorers import get, needs_model
from heedful.scorers.identity import identity_of
from heedful.types import Echo, Example, RunError, UserError
from heedful.workflows.annotate_apart import annotate_apart
from heedful.workflows.annotate_shards import Done, Form, Shard, annotate
from heedful.workflows.begun import begin
from heedful.workflows.fan_out import TRIES, fan_out

REQUEST, FINISHED = "request.json", "shards.jsonl"
INTERVAL_S = 5.0


@dataclass
class Progress:
    """What became of the documents so far."""

    shards: int = 0
    documents: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    characters: int = 0

    def add(self, done: Done) -> None:
        self.shards += 1
        self.documents += done.documents
        self.characters += done.characters
        self.failed.update(reason for _, reason in done.failures)


def annotate_documents(scorer: str, asked: ScoreConfig, *, dry_run: bool = False, echo: Echo = print) -> Path:
    """Score every document of the data and write them, in their order, into shards; continue what was begun.

    A document that the scorer cannot judge goes to `.score/failed.jsonl` with the reason; nothing else is lost.  With
    two worker processes or more that holds of one on which the scorer's process dies too.
    Raises UserError for a mistake in what is asked, a device that is not here, and a folder in which something else was
    begun; RunError if the scorer's process dies whatever it is given.
    """
    _check(asked)
    devices = _devices(scorer, asked)
    about = get(scorer, device=devices[0] if dry_run else "cpu").about  # the workers have the device to themselves
    if dry_run:
        _describe(scorer, about, asked, echo)
        return asked.out
    if not (asked.out / BOOKS / REQUEST).exists():
        next(shards(asked, LoadReport()), None)  # data that cannot be read claims no folder
    books = _begin(scorer, asked)
    finished = _finished(asked.out)
    report = LoadReport()
    progress, began, printed, resumed = Progress(), time.monotonic(), time.monotonic(), 0

    def open_shards() -> Iterator[Shard]:
        nonlocal resumed
        for shard in shards(asked, report):
            before = finished.get(shard.number)
            if before is not None and before.digest != shard.digest:
                raise UserError(
                    f"{asked.data}: its documents changed since {asked.out} was begun (shard {shard.number}); "
                    "name another folder with out=, or delete that one."
                )
            if before is not None and _part(asked, shard.number).exists():
                progress.add(before)
                resumed += before.characters
                continue
            yield shard

    def apart(shard: Shard, *settings: Any) -> tuple[Done, bytes]:
        first, last = (shard.rows[end]["origin"] for end in (0, -1))
        echo(f"worker processes died {TRIES} times: searching {first} to {last} for the document that kills them")
        return annotate_apart(shard, *settings)

    settings = (scorer, asked.split, Form(asked.format, asked.rows), devices)
    try:
        for done, content in fan_out(annotate, open_shards(), settings, asked.workers, asked.engine, apart):
            with replacing(_part(asked, done.number)) as aside:
                aside.write_bytes(content)
            with (books / FINISHED).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(done)) + "\n")
            finished[done.number] = done
            progress.add(done)
            if time.monotonic() - printed > INTERVAL_S:
                printed = time.monotonic()
                rate = (progress.characters - resumed) / (printed - began)
                echo(f"{progress.documents:,} documents, {progress.characters:,} characters, {rate:,.0f} a second")
    finally:
        _list_failures(books / FAILED, finished.values())
    _say(asked, report, progress, resumed, time.monotonic() - began, echo)
    return asked.out


def shards(asked: ScoreConfig, report: LoadReport) -> Iterator[Shard]:
    """The documents in their order, cut into shards at the same places every time."""
    number, rows, size = 0, [], 0
    for document in documents_of(read_mixture(asked.data, reader=asked.reader, report=report)):
        if isinstance(document, Dropped):
            continue
        rows.append(_row(document))
        size += len(rows[-1]["text"])
        if size >= asked.shard_characters:
            yield Shard.of(number, rows)
            number, rows, size = number + 1, [], 0
    if rows:
        yield Shard.of(number, rows)


def _row(document: Example) -> dict[str, Any]:
    """What is kept of a document beside its new scores."""
    row: dict[str, Any] = {"text": document.responses[0].text, "origin": document.origin or ""}
    return row if document.id is None else {**row, "id": document.id}


def _check(asked: ScoreConfig) -> None:
    here = Path(asked.data).expanduser()
    if here.is_dir() and asked.out.resolve().is_relative_to(here.resolve()):
        raise UserError(
            f"out={asked.out} lies in data={asked.data}, and would be read as data; name a folder elsewhere."
        )
    if asked.out.is_file():
        raise UserError(f"out={asked.out} is a file; name a folder for the shards.")
    if (there := unwritable(asked.out / BOOKS)) is not None:
        raise UserError(f"out={asked.out} cannot be written, because of {there}; name another folder.")


def _devices(scorer: str, asked: ScoreConfig) -> list[str]:
    """Where the scorer's model runs: every GPU that can be seen, as far as there are workers for them.

    A scorer without a model, whom nobody tells where, starts without torch.
    """
    if asked.engine == "ray" or (asked.device in ("auto", "cpu") and not needs_model(scorer)):
        return ["cpu"]
    import torch

    from heedful.training.world import choose_device

    first = choose_device(asked.device)
    if first.type != "cuda":
        return [str(first)]
    return [f"cuda:{number}" for number in range(min(asked.workers, torch.cuda.device_count()))]


def _begin(scorer: str, asked: ScoreConfig) -> Path:
    """The folder of the books, with what decides the scores; refused where something else was begun."""
    books = asked.out / BOOKS
    request = {
        "scorer": scorer,
        "identity": identity_of(scorer),
        "data": asked.data,
        "split": asked.split,
        "format": asked.format,
        "rows": asked.rows,
        "shard_characters": asked.shard_characters,
    }
    begin(asked.out, request, books / REQUEST)
    return books


def _finished(out: Path) -> dict[int, Done]:
    """Shards that were written before; a line that a kill cut short does not count."""
    path = out / BOOKS / FINISHED
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            done = Done(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[done.number] = done
    if path.exists():  # the books are written again without such a line, so that the next one begins on its own
        write_rows(map(asdict, found.values()), path)
    return found


def _list_failures(path: Path, finished: Iterable[Done]) -> None:
    """What could not be scored, shard by shard; each once, however often its shard was scored."""
    ordered = sorted(finished, key=lambda done: done.number)
    write_rows(({"origin": o, "reason": r, "shard": done.number} for done in ordered for o, r in done.failures), path)


def _part(asked: ScoreConfig, number: int) -> Path:
    return asked.out / f"part-{number:05d}.{asked.format}"


def _say(asked: ScoreConfig, report: LoadReport, progress: Progress, resumed: int, seconds: float, echo: Echo) -> None:
    for line in report.lines():
        echo(line)
    if not progress.shards:
        raise UserError(f"{asked.data} holds no document (a text without a prompt) to score.")
    scored = progress.documents - progress.failed.total()
    rate = (progress.characters - resumed) / max(seconds, 1e-9)
    echo(
        f"{scored:,} documents scored in {progress.shards:,} shards, {progress.characters:,} characters, "
        f"{rate:,.0f} a second with {asked.workers} workers, {duration(seconds)}"
    )
    for reason, count in progress.failed.most_common():
        echo(f"  {count:,} not scored: {reason}")
    if progress.failed:
        echo(f"  they are listed in {asked.out / BOOKS / FAILED}")
    if not scored:
        raise RunError(f"{asked.data}: not one document could be scored.")


def _describe(scorer: str, about: str, asked: ScoreConfig, echo: Echo) -> None:
    num, characters = 0, 0
    for document in documents_of(read_mixture(asked.data, reader=asked.reader)):
        if isinstance(document, Example):
            num += 1
            characters += len(document.responses[0].text)
    echo(f"would score {num:,} documents of {characters:,} characters with {scorer}: {about}")
    echo(f"in pieces: {asked.split}; by {asked.workers} workers; into {asked.out}, as {asked.format}")
    echo(f"in about {max(1, characters // asked.shard_characters):,} shards; nothing was written")
