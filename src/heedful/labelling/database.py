"""The labelling database: SQLite by default, PostgreSQL by URL; opening, migrating, and transactions.

SQLite writes one after the other, behind one lock a process; reads go on beside them (WAL).  Every commit is on the
disk before it returns.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    insert,
    inspect,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from heedful.examples.io import replacing
from heedful.types import RunError, UserError

BUSY_MS = 15_000
LONGEST_NAME = 255
"""Bytes of a file's name."""
CACHES = ("cache_size=-32768", "temp_store=MEMORY")
"""32 MiB of pages a connection: the indexes of a million answers do not fit into SQLite's usual two."""
BLOCK = 1000
"""Rows that are fetched at once."""
NETWORK = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "fuse.sshfs", "9p"}
"""File systems on which SQLite's locks cannot be trusted."""


JSON_BY: dict[str, Any] = {
    "json_serializer": lambda value: orjson.dumps(value).decode(),
    "json_deserializer": orjson.loads,
}


def now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()


def random_ids(number: int) -> list[str]:
    """Names that do not even tell when they were made."""
    drawn = secrets.token_hex(12 * number)
    return [drawn[at : at + 24] for at in range(0, 24 * number, 24)]


def new_ids(number: int) -> list[str]:
    """Names for rows that leave the server: the time and 52 random bits, so that an index of them grows at its end."""
    drawn = secrets.token_hex(7 * number)
    stamp = f"{time.time_ns() // 1_000_000:011x}"
    return [stamp + drawn[at : at + 13] for at in range(0, 14 * number, 14)]


def new_id() -> str:
    """One of them."""
    return new_ids(1)[0]


class Database:
    """An open labelling database, its schema up to date.

    url: `sqlite:///path.db`, `postgresql://…`, or the path of an SQLite file.
    Raises UserError for a URL that names no database, or one that cannot be opened.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _check_file(self.url, create)
        self._lock = threading.Lock() if self.is_sqlite else nullcontext()
        self.engine = _open(self.url, self.is_sqlite)
        self._writing = self.engine.execution_options(heed_write=True)
        # PostgreSQL gives each statement its own picture otherwise.
        alone = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = self.engine.execution_options(**alone)
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent picture."""
        with self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on the disk when it ends, or never was."""
        with self._lock, self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def backup(self, path: Path) -> None:
        """A copy of an SQLite database as of this moment, while others go on writing.

        Raises UserError for PostgreSQL, which has `pg_dump`, and for a path that exists.
        """
        if not self.is_sqlite:
            raise UserError("a PostgreSQL database is backed up by pg_dump; heed label backup copies SQLite files.")
        try:
            if path.exists():
                raise UserError(f"{path} exists; name a new file.")
            if not path.parent.is_dir():
                raise UserError(f"there is no folder {path.parent}.")
            with (
                replacing(path) as aside,
                self.engine.connect() as connection,
                closing(sqlite3.connect(aside)) as copy,
            ):
                source: Any = connection.connection.driver_connection
                source.backup(copy)
        except (OSError, sqlite3.Error) as problem:
            raise UserError(f"{path} cannot be written: {problem}.") from None

    def _migrate(self) -> None:
        from alembic import command
        from alembic.script import ScriptDirectory

        configuration = _alembic()
        script = ScriptDirectory.from_config(configuration)
        try:
            with self.write() as connection:
                configuration.attributes["connection"] = connection
                known = {revision.revision for revision in script.walk_revisions()}
                there = _revision(connection)
                if there is not None and there not in known:
                    raise UserError(
                        f"{shown(self.url)} was written by a newer Heedful (schema {there}); update Heedful to open it."
                    )
                if there != script.get_current_head():
                    if self.engine.dialect.name == "postgresql":
                        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7266646)")
                    command.upgrade(configuration, "head")
        except DBAPIError as problem:
            raise UserError(f"{shown(self.url)} cannot be opened: {_first_line(problem)}") from None


def _alembic() -> Any:
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return configuration


@contextmanager
def many_rows() -> Iterator[None]:
    """Without the garbage collector, which looks at every row again and again while a million of them are read."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def insert_many(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows that all name the same columns, and every one that must be there.

    On SQLite straight to the driver: SQLAlchemy's care for each row takes longer than the insertion.
    """
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(insert(table), list(rows))
        return
    names = list(rows[0])
    spell = [JSON_BY["json_serializer"] if isinstance(table.c[name].type, JSON) else _as_it_is for name in names]
    columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" for _ in names)
    values = [tuple([form(row[name]) for name, form in zip(names, spell, strict=True)]) for row in rows]
    connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', values)


def stream(connection: Connection, asked: Select[*tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
    """The rows of a large query as plain sequences, JSON and booleans read.

    On SQLite straight from the driver: SQLAlchemy's care for each row takes longer than the reading.
    """
    if connection.dialect.name != "sqlite":
        for block in connection.execute(asked, execution_options={"yield_per": BLOCK}).partitions():
            yield from map(tuple, block)
        return
    spelled = asked.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    values = [spelled.params[name] for name in getattr(spelled, "positiontup", None) or ()]
    driver: Any = connection.connection.driver_connection
    rows = driver.execute(str(spelled), values)
    kinds = [type(column.type) for column in asked.selected_columns]
    reading = {place: READING[kind] for place, kind in enumerate(kinds) if kind in READING}
    while block := rows.fetchmany(BLOCK):
        columns = list(zip(*block, strict=True)) if reading else []
        for place, read in reading.items():
            columns[place] = tuple(map(read, columns[place]))
        yield from zip(*columns, strict=True) if reading else block


def _parsed(text: str | None) -> Any:
    return None if text is None or text == "null" else {} if text == "{}" else orjson.loads(text)


class Spelled(TypeDecorator[Any]):
    """JSON as it is stored, in an `orjson.Fragment`: to be written again and not read.  For a cast."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else orjson.Fragment(value)


READING: dict[Any, Callable[[Any], Any]] = {JSON: _parsed, Boolean: bool, Spelled: orjson.Fragment}
"""Types that SQLite's driver gives as something else; no boolean of ours may be absent."""


def _as_it_is(value: Any) -> Any:
    return value


def shown(url: URL) -> str:
    """The database's name for people: without its password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return row[0] if row else None


def _parse(text: str) -> URL:
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UserError(f"{text.split('://')[0]}://…: no database URL, as sqlite:///labels.db") from None
    backend = url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    what = "an SQLite database in memory is lost with the process" if backend == "sqlite" else f"no {backend} here"
    raise UserError(f"{what}; name a file, as labels.db, or a server, as postgresql://user@host/name")


def _check_file(url: URL, create: bool) -> None:
    path = Path(str(url.database))
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise UserError("the name of the database is too long for a file.")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"{path}: {'a folder' if path.is_dir() else f'there is no folder {path.parent}'}; name a file.")
    if not create and not path.exists():
        raise UserError(f"{path}: no such database; name one by --db or $HEEDFUL_LABELS; heed label serve makes it.")
    kind = _file_system(path.parent.resolve())
    if kind in NETWORK:
        raise UserError(f"{path} lies on a network file system ({kind}), where SQLite loses answers; use a local disk.")


def _file_system(folder: Path) -> str:
    """The kind of file system that holds a folder, where Linux says so."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split(" ")[1:3] for line in lines]
    holding = [(place.replace("\\040", " "), kind) for place, kind in mounts]
    inside = [(len(place), kind) for place, kind in holding if folder.is_relative_to(place)]
    return max(inside, default=(0, ""))[1]


def _open(url: URL, is_sqlite: bool) -> Engine:
    try:
        if not is_sqlite:
            engine = create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True, **JSON_BY)
            engine.connect().close()
            return engine
        waiting = {"timeout": BUSY_MS / 1000}
        engine = create_engine(url, connect_args=waiting, pool_size=10, max_overflow=40, **JSON_BY)
        event.listen(engine, "connect", _pragmas)
        event.listen(engine, "begin", _begin)
        engine.connect().close()
        return engine
    except (ModuleNotFoundError, NoSuchModuleError):
        raise UserError("PostgreSQL needs a driver: pip install 'heedful[postgres]'") from None
    except (OperationalError, DBAPIError) as problem:
        raise UserError(f"{shown(url)} cannot be opened: {_first_line(problem)}") from None


def _first_line(problem: DBAPIError) -> str:
    return str(problem.orig).strip().split("\n")[0]


def _pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", *CACHES, f"busy_timeout={BUSY_MS}"):
        found = connection.execute(f"PRAGMA {pragma}").fetchone()
        if pragma.startswith("journal_mode") and found != ("wal",):
            raise RunError("this file system does not allow SQLite's write-ahead log; use a local disk.")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("heed_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
