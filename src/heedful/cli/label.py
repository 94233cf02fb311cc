"""`heed label`: items in, training data and statistics out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from heedful.cli.label_words import Db, Slug, opened
from heedful.types import UserError

if TYPE_CHECKING:
    from heedful.examples.shape import Dropped
    from heedful.labelling.formats.native_merge import Merged
    from heedful.labelling.new_items import NewItem

Url = Annotated[str | None, Parameter(help="address of the Argilla server; without it $ARGILLA_API_URL")]
Workspace = Annotated[str | None, Parameter(help="workspace on the server; without it the first")]


HINTS = {"the votes are tied": " (decide them on the page Adjudicate, or weigh labellers by --aggregate onecoin)"}
"""What helps against a reason why items stay out."""


def import_(
    slug: Slug,
    data: Annotated[str, Parameter(help="file, folder, hub name or mixture; or another tool's export")],
    /,
    *,
    format: Annotated[
        Literal["auto", "items", "argilla", "label-studio", "arena", "answers-csv", "native"],
        Parameter(help="auto reads what heed train reads; native makes a project again, or merges with it"),
    ] = "auto",
    on_conflict: Annotated[
        Literal["skip", "error", "update"], Parameter(help="what becomes of items that are there already")
    ] = "skip",
    columns: Annotated[
        str | None,
        Parameter(help="of a table (file, folder, hub name): prompt=COLUMN,responses=COLUMN+COLUMN,id=COLUMN"),
    ] = None,
    reader: Annotated[str | None, Parameter(help="name of the reader of the data; found from the rows without")] = None,
    dry_run: Annotated[bool, Parameter(help="say what would come in, and what not, and stop", negative="")] = False,
    db: Db = None,
) -> None:
    """Put items into a project; rows that cannot be judged are named, the rest goes in.

    Examples:

      heed label import answers samples.jsonl --dry-run

      heed label import answers argilla.json --format argilla
    """
    from heedful.labelling import importing, projects
    from heedful.labelling.events import CLI
    from heedful.labelling.formats import native, native_merge

    if format == "native":
        if dry_run:
            raise UserError("a whole project is taken in or not at all; --dry-run is for items.")
        rows = (row for _, row in importing.located_rows(Path(data)))
        with opened(db, create=True) as database, database.write() as connection:
            if projects.is_there(connection, slug):
                _say_merged(native_merge.merge(connection, rows, slug, on_conflict=on_conflict))
                return
            restored = native.restore(connection, rows, CLI, slug=slug)
        print(f"{restored.slug} is there again, {restored.state}.")
        return
    by = None if columns is None else importing.columns_of(columns)
    found = importing.read_items(data, format, reader=reader, columns=by, warn=print)
    _put_in(db, slug, found, data, on_conflict, dry_run)


def _say_merged(done: Merged) -> None:
    """A word on each conflict, and the counts."""
    _say_refused(done.refused)
    items = done.items
    print(f"{items.added:,} items added, {items.updated:,} updated, {items.skipped:,} were there already.")
    for name in sorted({*done.taken, *done.there}):
        print(f"{done.taken[name]:,} {name} taken over, {done.there[name]:,} were there already.")


def _say_refused(refused: list[tuple[str, str]]) -> None:
    for origin, reason in refused[:20]:
        print(f"  {origin}: {reason}")
    if len(refused) > 20:
        print(f"  and {len(refused) - 20:,} more")


def _put_in(
    db: str | None,
    slug: str,
    found: Iterable[NewItem | Dropped],
    source: str,
    on_conflict: Literal["skip", "error", "update"],
    dry_run: bool,
) -> None:
    """Items into a project, and a word on each that is none."""
    from heedful.labelling import importing, items
    from heedful.labelling.projects import get_project

    refused: list[tuple[str, str]] = []
    with opened(db) as database:
        with database.read() as connection:
            get_project(connection, slug)  # before anything is read
        read = importing.kept(found, refused)
        if dry_run:
            with database.write() as connection:
                added = items.add_items(connection, slug, read, on_conflict=on_conflict, dry_run=True)
        else:
            added = items.add_in_blocks(database, slug, read, on_conflict=on_conflict)
    refused += added.refused
    _say_refused(refused)
    would = "would be " if dry_run else ""
    answers = f", {added.answers:,} answers taken over" if added.answers else ""
    print(
        f"{added.added:,} items {would}added, {added.updated:,} updated, {added.skipped:,} were there already, "
        f"{len(refused):,} refused{answers}."
    )
    if added.added + added.updated + added.skipped == 0:
        raise UserError(f"{source}: no row can be judged in {slug}.")
    if not dry_run:
        print(f"Next: heed label open {slug}, heed label serve")


def pull(
    slug: Slug,
    dataset: Annotated[str, Parameter(help="name of the data set on the server")],
    /,
    *,
    url: Url = None,
    workspace: Workspace = None,
    on_conflict: Annotated[
        Literal["skip", "error", "update"], Parameter(help="what becomes of items that are there already")
    ] = "skip",
    dry_run: Annotated[bool, Parameter(help="say what would come in, and what not, and stop", negative="")] = False,
    db: Db = None,
) -> None:
    """Put the items and answers of a data set on an Argilla server into a project; the key is in ARGILLA_API_KEY.

    Example:

      heed label pull answers helpfulness --url http://127.0.0.1:6900 --workspace team
    """
    from heedful.labelling.formats import argilla_server
    from heedful.labelling.importing import items_of

    rows = argilla_server.pull(argilla_server.connect(url), dataset, workspace)
    _put_in(db, slug, items_of(rows, "argilla", print), dataset, on_conflict, dry_run)


def push(
    slug: Slug,
    dataset: Annotated[str, Parameter(help="name of the new data set on the server")],
    /,
    *,
    url: Url = None,
    workspace: Workspace = None,
    db: Db = None,
) -> None:
    """Make a data set on an Argilla server from a project: guidelines, questions, items, suggestions, and answers.

    Answers and skips go along of those who have an account of the same name there.  The key is in ARGILLA_API_KEY.

    Example:

      heed label push answers helpfulness --url http://127.0.0.1:6900 --workspace team
    """
    from heedful.labelling.consensus import gather
    from heedful.labelling.formats import argilla_server
    from heedful.labelling.projects import get_project

    client = argilla_server.connect(url)
    with opened(db) as database, database.read() as connection:
        project = get_project(connection, slug)
        done = argilla_server.push(client, project, gather(connection, project, beside=True), dataset, workspace)
    print(f"{done.records:,} records with {done.answers:,} answers are in {dataset} at {client.api_url}.")
    for who, count in sorted(done.strangers.items()):
        print(f"  {who} has no account there: {count:,} answers stayed here")


def export(
    slug: Slug,
    out: Annotated[Path, Parameter(help="file to write, JSON Lines or CSV; a manifest is written beside it")],
    /,
    *,
    format: Annotated[
        Literal[
            "heedful",
            "trl",
            "kto",
            "safe-rlhf",
            "hh",
            "oasst",
            "arena",
            "arena-55k",
            "pairs-csv",
            "answers-csv",
            "argilla",
            "label-studio",
            "native",
        ],
        Parameter(help="trl: pairs for reward models and DPO; kto: thumbs; native: everything, to be imported again"),
    ] = "trl",
    aggregate: Annotated[
        str, Parameter(help="how several answers become one: majority, onecoin, or path/to/file.py:function")
    ] = "majority",
    min_n: Annotated[int, Parameter(help="answers that an item must have")] = 1,
    min_confidence: Annotated[float, Parameter(help="share of votes that a decision must have")] = 0.0,
    ties: Annotated[Literal["drop", "soft"], Parameter(help="soft writes tied pairs with p_0: 0.5")] = "drop",
    style: Annotated[
        Literal["explicit", "implicit", "standard"], Parameter(help="prompt apart, inside the conversations, or text")
    ] = "explicit",
    pairs: Annotated[Literal["all", "adjacent", "best_worst"], Parameter(help="which pairs of a ranking")] = "all",
    question: Annotated[
        Literal["preference", "safer"], Parameter(help="which question makes the pairs")
    ] = "preference",
    direction: Annotated[
        Literal["safer", "harmful"], Parameter(help="which of a safety pair is chosen; a cost model wants harmful")
    ] = "safer",
    labels_from: Annotated[Literal["thumbs", "preference"], Parameter(help="what labels kto's rows")] = "thumbs",
    margin: Annotated[
        bool, Parameter(help="write strength as TRL's margin, which changes its loss", negative="")
    ] = False,
    split: Annotated[float, Parameter(help="share of the prompts that is written apart")] = 0.0,
    hub: Annotated[
        bool, Parameter(help="OUT is a folder: Parquet, a card, guidelines and settings", negative="")
    ] = False,
    push: Annotated[str | None, Parameter(help="with --hub, push the folder to this data set's name")] = None,
    include: Annotated[
        list[Literal["gold", "training", "repeat"]] | None,
        Parameter(help="kinds of items to write beside the normal ones; may repeat", negative=""),
    ] = None,
    without_paused: Annotated[bool, Parameter(help="leave out paused labellers' answers", negative="")] = False,
    overwrite: Annotated[bool, Parameter(help="write over a file that is no earlier export", negative="")] = False,
    db: Db = None,
) -> None:
    """Write training data, or another tool's file, with a manifest of what stayed out and why.

    Examples:

      heed label export answers pairs.jsonl --aggregate onecoin --min-confidence 0.8 --split 0.2

      heed label export answers backup.jsonl --format native
    """
    from heedful.labelling import export_files, exporting
    from heedful.labelling.formats.training import Shape
    from heedful.user_file import names_file, user_function

    shape = Shape(style, ties, pairs, margin, labels_from, question, direction)
    own = user_function(aggregate, "aggregate", takes=("items",)) if names_file(aggregate) else aggregate
    if include and format == "native":
        raise UserError("native holds every kind of item; leave out --include.")
    kinds = tuple(include or ())
    asked = exporting.Asked(format, own, min_n, min_confidence, kinds, None, without_paused, split, shape)
    exporting.check_asked(asked)
    if not hub and not overwrite:
        export_files.check_out(out)
    if push is not None and not hub:
        raise UserError("--push needs --hub, which writes the folder that is pushed.")
    if hub:
        from heedful.labelling.hub_folder import push_hub_folder, write_hub_folder

        with opened(db) as database, database.read() as connection:
            done = write_hub_folder(connection, slug, out, asked)
        print(f"Wrote {len(done.lines):,} rows and {len(done.lines_held_out):,} held out into {out}, with a card.")
        if push is not None:
            print(f"Pushed to {push_hub_folder(out, push)}.")
        return
    with opened(db) as database:
        with database.read() as connection:
            done = exporting.export(connection, slug, asked)
        if not done.lines and not done.lines_held_out:
            reasons = "; ".join(f"{reason} ({count:,} ×)" for reason, count in done.manifest["left_out"].items())
            raise UserError(f"{slug}: nothing can be exported as {format}: {reasons or 'there are no items'}.")
        with database.write() as connection:
            written = export_files.write(done, out, connection)
    counts = done.manifest["rows"]
    print(f"Wrote {counts['train']:,} rows" + (f" and {counts['held_out']:,} held out" if counts["held_out"] else ""))
    for reason, count in done.manifest.get("left_out", {}).items():
        print(f"  left out {count:,}: {reason}{HINTS.get(reason, '')}")
    print(f"into {', '.join(map(str, written))}.")


def stats(slug: Slug, /, *, db: Db = None) -> None:
    """Say how far a project is, and how everybody works.

    Example:

      heed label stats answers
    """
    from heedful.labelling import projects, quality, sources

    with opened(db) as database, database.read() as connection:
        found = projects.get_project(connection, slug)
        overview, people = quality.overview(connection, found), quality.labellers(connection, found)
        strengths = sources.strengths(connection, found)
    items = ", ".join(f"{count:,} {state}" for state, count in sorted(overview["items"].items())) or "none"
    print(f"{slug} is {overview['state']} (version {overview['version']}); items: {items}")
    print(f"{overview['answers']:,} of {overview['answers_wanted']:,} answers, {overview['open_flags']:,} open reports")
    for row in people:
        first = row["first_shown"]
        parts = [f"{row['answers']:,} answers"]
        parts += [f"median {row['median_s']:.1f} s"] if row["median_s"] is not None else []
        parts += [f"the first shown won {100 * first['share']:.0f} % of {first['n']:,}"] if first else []
        parts += [f"gold {row['gold']['right']} of {row['gold']['n']}"] if row["gold"] else []
        if row["estimated"]:
            parts += [f"estimated right {100 * row['estimated']['accuracy']:.0f} % of {row['estimated']['n']:,}"]
        parts += [f"repeated alike {row['repeats']['same']} of {row['repeats']['n']}"] if row["repeats"] else []
        parts += [f"{row['suspect']:,} suspect"] if row["suspect"] else []
        print(f"  {row['labeller']}: {', '.join(parts)}")
    if strengths:
        print("Bradley-Terry strengths of the sources (log-odds against the average one, with 95 % intervals):")
    for row in strengths:
        interval = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"  {row['source']}: {row['strength']:+.2f} {interval}, {row['games']:,} comparisons")


def agreement(
    slug: Slug,
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", help="as JSON", negative="")] = False,
    db: Db = None,
) -> None:
    """Say how far labellers agree: raw, Krippendorff's α with its interval, Fleiss' and Cohen's κ, and
    of rankings Kendall's τ-b.

    Example:

      heed label agreement answers
    """
    from heedful.labelling import agreement_tables, projects

    with opened(db) as database, database.read() as connection:
        table = agreement_tables.agreement_in(connection, projects.get_project(connection, slug))
    if json_:
        print(json.dumps(table, indent=1))
        return
    if not table:
        print(f"{slug}: nobody has answered yet.")
    for question, row in table.items():
        print(f"{question} ({row['labels']:,} labels, {row['level']})")
        for name in ("raw", "krippendorff_alpha", "fleiss_kappa", "cohen_kappa", "kendall_tau_b"):
            if name in row:
                print(f"  {name.replace('_', ' ')}: {_estimate(row[name])}")


def _estimate(one: dict[str, float]) -> str:
    if one["value"] is None:
        return f"undefined, because {one['reason']}"
    interval = f" [{one['low']:.2f}, {one['high']:.2f}]" if "low" in one else ""
    return f"{one['value']:.3f}{interval} over {one['n']:,} items"
