"""What the commands of `heed label` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from heedful.labelling.database import Database

Db = Annotated[
    str | None,
    Parameter(help="database: an SQLite file, or postgresql://…; without it $HEEDFUL_LABELS, else labels.db here"),
]


Slug = Annotated[str, Parameter(help="the project's name")]


Port = Annotated[int, Parameter(help="port to listen on")]


@contextmanager
def opened(db: str | None, *, create: bool = False) -> Iterator[Database]:
    from heedful.labelling.database import Database
    from heedful.workflows.labels import database_name

    database = Database(database_name(db), create=create)
    try:
        yield database
    finally:
        database.close()
