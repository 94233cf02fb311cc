"""From the name of a source (file, folder, hub data set) to its rows.  What exists here never touches the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from heedful.config.suggest import did_you_mean
from heedful.examples.folders import files_of, is_saved, saved_rows
from heedful.examples.hub import hub_rows, parse_hub_name
from heedful.examples.not_scored import not_scored
from heedful.examples.rows import OriginRow, rows_of
from heedful.types import UserError

Unreadable = Callable[[str, str], None]
"""(origin, reason) of a row that cannot be read."""


def open_source(
    where: str,
    split: str,
    *,
    documents: bool = False,
    on_empty: Callable[[str], None] = lambda file: None,
    on_unreadable: Unreadable | None = None,
) -> tuple[Iterator[OriginRow], str | None]:
    """(rows of `where`, a note if another split than the one asked for is read).

    where: a file, a folder or a hub name; `#split` at its end names a split of a folder or a hub data set.
    documents: of a folder, the text files rather than the data files.
    on_empty: is told of every file without a row when its turn comes.
    on_unreadable: is told of rows that cannot be read, as of `rows_of`.
    Raises UserError for a source that does not exist or cannot be opened.
    """
    path, chosen = _local(where)
    if path is not None:
        return _open_local(path, chosen or split, documents, on_empty, on_unreadable)
    hub = parse_hub_name(where)
    if hub is None:
        raise UserError(f"no such file or folder: {where!r}{near_path(where) or '.'}")
    return hub_rows(hub, split)


def split_of(where: str, asked: str) -> str:
    """The split that is read of `where`: the one its name ends in (`#test`), or else the one asked for."""
    path, chosen = _local(where)
    hub = parse_hub_name(where) if path is None else None
    return chosen or (hub.split if hub else None) or asked


def missing_in(where: str) -> Iterator[str]:
    """The documents that are not in `where` because they could not be scored (see `not_scored`)."""
    path, _ = _local(where)
    return not_scored(path) if path is not None else iter(())


def exists(where: str) -> bool:
    """Whether `where` (with or without a `#split`) is a file or folder here."""
    return _local(where)[0] is not None


def _local(where: str) -> tuple[Path | None, str | None]:
    """(the file or folder of that name, the split its name ends in); (None, None) if there is none here."""
    base, hash_mark, split = where.rpartition("#")
    for text, chosen in ((where, None), (base, split)) if hash_mark and base else ((where, None),):
        path = Path(text).expanduser()
        if text and path.exists():
            return path, chosen
    return None, None


def _open_local(
    path: Path, split: str, documents: bool, on_empty: Callable[[str], None], on_unreadable: Unreadable | None
) -> tuple[Iterator[OriginRow], str | None]:
    if path.is_file():
        return _rows_of([path], on_empty, on_unreadable), None
    if is_saved(path) and not documents:
        return saved_rows(path, split)
    files, note = files_of(path, split, documents=documents)
    return _rows_of(files, on_empty, on_unreadable), note


def _rows_of(
    files: Iterable[Path], on_empty: Callable[[str], None], on_unreadable: Unreadable | None
) -> Iterator[OriginRow]:
    for file in files:
        seen = 0

        def tell(origin: str, reason: str) -> None:
            nonlocal seen
            seen += 1
            assert on_unreadable is not None
            on_unreadable(origin, reason)

        for row in rows_of(file, None if on_unreadable is None else tell):
            seen += 1
            yield row
        if not seen:
            on_empty(str(file))


def near_path(where: str) -> str:
    """`; did you mean X?` with a file of nearly that name in the same folder, or that there is no such folder."""
    path = Path(where).expanduser()
    if not path.parent.is_dir():
        return f" (there is no folder {str(path.parent)!r})"
    return did_you_mean(path.name, [sibling.name for sibling in path.parent.iterdir()])
