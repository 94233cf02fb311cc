"""The answers to many items, those to an item packed into one row by the database: a million are read in a second.

Most questions are asked of what was answered, so items with the same answers share one list of values.  Who answered
what, and when, is unpacked where somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from sqlalchemy import ColumnElement, Connection, Text, cast, exists, func, select

from heedful.labelling.database import stream
from heedful.labelling.projects import Project
from heedful.labelling.questions import Value
from heedful.labelling.tables import annotation, project_version, user
from heedful.labelling.values import Parsed

BETWEEN = "\x1e"
"""Stands between packed values: in JSON it is escaped."""


@dataclass(slots=True)
class Answer:
    """One person's current answer to an item.

    labeller: their user name.  value: read only, as others may share it.  version: of the project.  wall_ms, at
    (seconds since 1970): None unless times were asked for; wall_ms also where nobody took it.
    """

    labeller: str
    value: Value
    version: int
    wall_ms: int | None = None
    at: float | None = None


class Answers(Sequence[Answer]):
    """The answers to one item, by the labellers' names.  values: what they say, in an order that tells nothing."""

    __slots__ = ("_book", "_packed", "values")

    def __init__(self, book: Book, values: list[Value], packed: Sequence[str] | None) -> None:
        """packed: values, people, versions, and perhaps milliseconds and times; None where people were not read."""
        self._book, self.values, self._packed = book, values, packed

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Answer]: ...
    def __getitem__(self, index: int | slice) -> Answer | Sequence[Answer]:
        return self._book.unpacked(self._packed)[index]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._book.unpacked(self._packed))


class Book:
    """The answers to some items.

    labellers: the names of who answered anything, in order.  versions: of the project, in which answers were given.
    newest: when the last of them was given, seconds since 1970.
    """

    def __init__(self, names: Mapping[int, str], labellers: Iterable[int], versions: Iterable[int]) -> None:
        """names: of the users.  labellers: their ids."""
        self._names = {str(key): name for key, name in names.items()}
        self.labellers, self.versions = sorted(names[key] for key in labellers), sorted(versions)
        self._parsed = Parsed()
        self._alike: dict[str, list[Value]] = {}
        self._nobody = Answers(self, [], ("", "", ""))
        self._of: dict[int, Answers] = {}
        self.newest: float | None = None

    @classmethod
    def read(
        cls, connection: Connection, found: Project, wanted: Sequence[Any], *, who: bool = True, times: bool = False
    ) -> Book:
        """wanted: conditions on `annotation`.  who: read who gave each answer too, and in which version of the project;
        done all the same where there are two people, whose agreement is a statistic of its own.  times: read `wall_ms`
        and `at`, beside who.
        """
        names: dict[int, str] = dict(connection.execute(select(user.c.id, user.c.username)).all())  # pyright: ignore
        labellers = _answered(connection, user.c.id, annotation.c.user_id, wanted)
        version = project_version.c.version
        versions = _answered(
            connection, version, annotation.c.project_version, wanted, project_version.c.project_id == found.id
        )
        book = cls(names, labellers, versions)
        columns = [cast(annotation.c.value, Text)]
        is_named = who or times or len(labellers) == 2
        if is_named:
            columns += [annotation.c.user_id, annotation.c.project_version]
        if times:
            spent = func.coalesce(cast(annotation.c.wall_ms, Text), "")
            columns += [spent, _exactly(connection, annotation.c.submitted_at)]
        packed = [func.aggregate_strings(cast(column, Text), BETWEEN) for column in columns]
        asked = select(annotation.c.item_id, func.max(annotation.c.submitted_at), *packed).where(*wanted)
        newest, nameless = 0.0, dict[int, Answers]()  # of the latter those alike are one
        for item_id, at, *row in stream(connection, asked.group_by(annotation.c.item_id)):
            newest = max(at, newest)
            values = book.values(row[0])
            if is_named:
                book._of[item_id] = Answers(book, values, row)
            elif (alike := nameless.get(id(values))) is not None:
                book._of[item_id] = alike
            else:
                book._of[item_id] = nameless[id(values)] = Answers(book, values, None)
        book.newest = newest if book._of else None
        return book

    def of(self, item_id: int) -> Answers:
        """The answers to an item."""
        return self._of.get(item_id, self._nobody)

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def values(self, texts: str) -> list[Value]:
        """What packed values say: the same list for the same ones in whatever order."""
        ordered = sorted(texts.split(BETWEEN)) if texts else []
        key = BETWEEN.join(ordered)
        found = self._alike.get(key)
        if found is None:
            found = self._alike[key] = [self._parsed[text] for text in ordered]
        return found

    def unpacked(self, packed: Sequence[str] | None) -> list[Answer]:
        """The answers to an item, whole."""
        assert packed is not None, "who gave the answers was not read"
        if not packed[0]:
            return []
        columns = [column.split(BETWEEN) for column in packed]
        found = []
        for text, who, version, *times in zip(*columns, strict=True):
            answer = Answer(self._names[who], self._parsed[text], int(version))
            if times:
                answer.wall_ms = int(times[0]) if times[0] else None
                answer.at = float(times[1])
            found.append(answer)
        return sorted(found, key=lambda answer: answer.labeller)


def _answered(
    connection: Connection, key: ColumnElement[int], of: ColumnElement[int], wanted: Sequence[Any], *here: Any
) -> list[int]:
    """Keys of another table (`here` of it) with an answer.  Quicker than asking every answer for its own."""
    return [*connection.scalars(select(key).where(*here, exists().where(of == key, *wanted)))]


def _exactly(connection: Connection, number: ColumnElement[float]) -> ColumnElement[Any]:
    """All digits: SQLite gives fifteen otherwise, and a time has more."""
    return func.printf("%!.17g", number) if connection.dialect.name == "sqlite" else number
