"""An export's files, and the note that is kept of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, insert

from heedful.examples.io import replacing
from heedful.labelling.database import now
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.exporting import Export
from heedful.labelling.projects import get_project
from heedful.labelling.tables import export_run
from heedful.types import UserError


def write(done: Export, out: Path, connection: Connection, actor: Actor = CLI) -> list[Path]:
    """The rows into `out`, the manifest beside it (`out` with .manifest.json), and what else belongs to the format.

    connection: of a transaction that writes; a note of the export is kept in it.  Returns the files that were written.
    """
    second = out.with_name(f"{out.stem}.held-out{out.suffix}")
    _spare_databases([out, second])
    written = [out]
    with replacing(out) as aside:
        _write_lines(aside, [done.header, *done.lines])
    if done.lines_held_out:
        with replacing(second) as aside:
            _write_lines(aside, [done.header, *done.lines_held_out])
        written.append(second)
    for name, content in {"manifest.json": json.dumps(done.manifest, indent=1) + "\n", **done.files}.items():
        path = out.with_name(f"{out.stem}.{name}")
        with replacing(path) as aside:
            aside.write_text(content, encoding="utf-8")
        written.append(path)
    keep_note(connection, done, actor)
    return written


def check_out(out: Path) -> None:
    """Raises UserError for a file that is there and that no export wrote: it has no manifest beside it."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file, or add --hub.")
    if out.exists() and not out.with_name(f"{out.stem}.manifest.json").exists():
        _spare_databases([out])
        raise UserError(f"{out} is there, and is no earlier export; name another file, or add --overwrite.")


def _spare_databases(paths: Sequence[Path]) -> None:
    """Raises UserError for a file that is an SQLite database, or belongs to one: labels must not be written over."""
    for path in paths:
        base = Path(re.sub(r"-(wal|shm|journal)$", "", str(path)))
        for one in {path, base}:
            if one.is_file():
                with one.open("rb") as file:
                    if file.read(16) == b"SQLite format 3\0":
                        raise UserError(f"{path} belongs to a database; name another file to write.")


def keep_note(connection: Connection, done: Export, actor: Actor) -> int:
    """A row of `export_run`, and an event; the run's number."""
    found = get_project(connection, done.manifest["project"])
    values = {"project_id": found.id, "format": done.manifest["format"], "params": done.manifest.get("params", {})}
    added = insert(export_run).values(at=now(), manifest=done.manifest, user_id=actor.user_id, **values)
    key = connection.execute(added).inserted_primary_key
    assert key is not None
    record(connection, actor, "export", "project", found.slug, {"format": values["format"], "run": key[0]})
    return key[0]


def _write_lines(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(lines)
