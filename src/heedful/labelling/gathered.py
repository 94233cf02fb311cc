"""The answers to many items, those to an item packed into one row by the database: a million are read in a second.

Most questions are asked of what was answered, so items with the same answers share one list of values.  Who answered
what, and when, is unpacked where somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    __slots__ = ("_book", "packed", "values")

    def __init__(self, book: Book, values: list[Value], packed: Sequence[str] | None) -> None:
        """packed: values, people, versions, and perhaps milliseconds and times; None where people were not read."""
        self._book, self.values, self.packed = book, values, packed

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Answer]: ...
    def __getitem__(self, index: int | slice) -> Answer | Sequence[Answer]:
        return self._book.unpacked(self.packed)[index]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._book.unpacked(self.packed))


class Book:
    """The answers to some items.

    newest: when the last of them was given, seconds since 1970.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        """names: of the users."""
        self._names = {str(key): name for key, name in names.items()}
        self._parsed = Parsed()
        self._alike: dict[str, list[Value]] = {}
        self._nobody = Answers(self, [], ("", "", ""))  # of whom it is known
        self._of: dict[int, Answers] = {}
        self.newest: float | None = None

    @classmethod
    def read(
        cls, connection: Connection, found: Project, wanted: Sequence[Any], *, people: bool = True, times: bool = False
    ) -> Book:
        """wanted: conditions on `annotation`.  people: each answer can be unpacked; otherwise only `values` are sure to
        be there.  times: `wall_ms` and `at` are, too.
        """
        names: dict[int, str] = dict(connection.execute(select(user.c.id, user.c.username)).all())  # pyright: ignore
        book = cls(names)
        if not (people or times):
            answered = exists().where(annotation.c.user_id == user.c.id, *wanted)
            book.labellers = sorted(connection.scalars(select(user.c.username).where(answered)))
            book.versions = _versions(connection, found, wanted) if book.labellers else []
            people = len(book.labellers) == 2  # whose agreement is a statistic of its own
        columns = [cast(annotation.c.value, Text)]
        if people or times:
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
            if people or times:
                book._of[item_id] = Answers(book, values, row)
            elif (alike := nameless.get(id(values))) is not None:
                book._of[item_id] = alike
            else:
                book._of[item_id] = nameless[id(values)] = Answers(book, values, None)
        book.newest = newest if book._of else None
        return book

    @cached_property
    def labellers(self) -> list[str]:
        """The names of who answered anything, in order."""
        return sorted(self._names[key] for key in self._different(1))

    @cached_property
    def versions(self) -> list[int]:
        """Of the project, in which answers were given."""
        return sorted(map(int, self._different(2)))

    def _different(self, place: int) -> set[str]:
        packed = [answers.packed[place] for answers in self._of.values() if answers.packed is not None]
        return set().union(*[texts.split(BETWEEN) for texts in packed])

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
        assert packed is not None, "people were not read"
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


def _versions(connection: Connection, found: Project, wanted: Sequence[Any]) -> list[int]:
    """In which answers were given: where there is only one, no answer needs to be asked."""
    there = list(connection.scalars(select(project_version.c.version).where(project_version.c.project_id == found.id)))
    if len(there) == 1:
        return there
    return sorted(connection.scalars(select(annotation.c.project_version).where(*wanted).distinct()))


def _exactly(connection: Connection, number: ColumnElement[float]) -> ColumnElement[Any]:
    """All digits: SQLite gives fifteen otherwise, and a time has more."""
    return func.printf("%!.17g", number) if connection.dialect.name == "sqlite" else number
