"""Items into a project: from whatever data the rest of Heedful reads, and from other tools with their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.config.suggest import did_you_mean
from heedful.examples.loading import LoadReport, read_mixture
from heedful.examples.rows import rows_of
from heedful.examples.shape import Dropped
from heedful.examples.sources import open_source
from heedful.labelling.formats import argilla, label_studio, sheets
from heedful.labelling.formats.examples import from_example
from heedful.labelling.new_items import Given, NewItem, NewResponse
from heedful.types import Message, UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.  prompt, id, context: None for none."""

    responses: tuple[str, ...]
    prompt: str | None = None
    id: str | None = None
    context: tuple[str, ...] = ()

    def named(self) -> list[str]:
        """All columns that are read."""
        return [*self.responses, *self.context, *(name for name in (self.prompt, self.id) if name is not None)]


def columns_of(text: str) -> Columns:
    """From `prompt=q,responses=a+b,id=key,context=page`.  Raises UserError for anything else."""
    parts: dict[str, str] = {name: value for name, _, value in (part.partition("=") for part in text.split(","))}
    unknown = set(parts) - {"prompt", "responses", "id", "context"}
    if unknown or not parts.get("responses"):
        raise UserError(f"columns are written prompt=COLUMN,responses=COLUMN+COLUMN,id=COLUMN, not {text!r}.")
    several = {
        name: tuple(parts.get(name, "").split("+")) if parts.get(name) else () for name in ("responses", "context")
    }
    return Columns(several["responses"], parts.get("prompt"), parts.get("id"), several["context"])


def row_by(columns: Columns, row: Row) -> Row:
    """A table's row as one of ours.  Raises UserError for a column that it lacks."""
    missing = [name for name in columns.named() if name not in row]
    if missing:
        raise UserError(f"there is no column {missing[0]!r} (there are: {', '.join(map(str, row))}).")
    made: Row = {"responses": [row[name] for name in columns.responses]}
    if columns.prompt is not None:
        made["prompt"] = row[columns.prompt]
    if columns.id is not None:
        made["id"] = row[columns.id]
    if columns.context:
        made["context"] = {name: str(row[name]) for name in columns.context}
    return made


FORMATS: dict[str, str] = {
    "auto": "any data that heed train reads: prompts with one or more responses; its own labels become suggestions",
    "items": "rows {prompt, responses, id, context, priority, overlap, gold, suggestions}",
    "argilla": "Argilla's records, with their answers",
    "label-studio": "Label Studio's tasks, with their annotations",
    "arena": "battles {model_a, model_b, winner, conversation_a, conversation_b}, with votes; or arena-55k's columns",
    "answers-csv": "a row an answer, as export --format answers-csv writes it",
    "native": "a whole project, as export --format native writes it",
}
WINNERS = {"model_a": "r0", "model_b": "r1"}


def check_format(name: str) -> str:
    """Raises UserError for an unknown format."""
    if name not in FORMATS:
        raise UserError(
            f"no format is called {name!r}{did_you_mean(name, list(FORMATS))} (there are: {', '.join(FORMATS)})."
        )
    return name


def read_items(
    source: str,
    form: str = "auto",
    *,
    reader: str | None = None,
    columns: Columns | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Iterator[NewItem | Dropped]:
    """The items of a file, folder, hub name or mixture, and what cannot be one.

    columns: for a table of any kind (a file, a folder, a data set on the hub), which of its columns are what.
    Raises UserError for what cannot be read at all.
    """
    check_format(form)
    if columns is not None:
        if form not in ("auto", "items") or reader is not None:
            raise UserError(f"columns say how a table is read; leave out {'reader' if reader else f'format {form}'}.")
        found, note = open_source(source, "train")
        if note is not None:
            warn(note)
        yield from items_of(((origin, row_by(columns, row)) for origin, row in found), "items", warn)
        return
    if form == "auto":
        report = LoadReport()
        for read in read_mixture(source, reader=reader, report=report):
            yield read if isinstance(read, Dropped) else from_example(read)
        return
    yield from items_of(located_rows(Path(source)), form, warn)


def items_of(
    rows: Iterator[tuple[str, Row]], form: str, warn: Callable[[str], None] = lambda line: None
) -> Iterator[NewItem | Dropped]:
    """The items of rows with their origins, in one of the formats but `auto` and `native`."""
    warned: set[str] = set()

    def once(sentence: str) -> None:
        if sentence not in warned:
            warned.add(sentence)
            warn(sentence)

    read: dict[str, Callable[[str, Row], NewItem]] = {
        "items": from_row,
        "arena": _arena,
        "answers-csv": sheets.item_of,
        "argilla": lambda origin, row: argilla.item_of(origin, row, once),
        "label-studio": label_studio.item_of,
    }
    if form not in read:
        raise UserError(f"rows are read as {', '.join(read)}, not as {form}.")
    found = _each(rows, form, read[form])
    yield from _joined(found) if form in ("arena", "answers-csv") else found


def _each(
    rows: Iterator[tuple[str, Row]], form: str, read: Callable[[str, Row], NewItem]
) -> Iterator[NewItem | Dropped]:
    for origin, row in rows:
        try:
            yield read(origin, row)
        except UserError as problem:
            yield Dropped(origin, str(problem))
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as problem:
            yield Dropped(origin, f"not as {form} writes it ({type(problem).__name__}: {problem})")


def _joined(items: Iterator[NewItem | Dropped]) -> Iterator[NewItem | Dropped]:
    """Items with one answer each, those that follow one another and are the same made one with all their answers."""
    last: NewItem | None = None
    for one in items:
        if last is not None and isinstance(one, NewItem) and _same(last, one):
            last.answers += one.answers
            continue
        if last is not None:
            yield last
        last = one if isinstance(one, NewItem) else None
        if last is None:
            yield one
    if last is not None:
        yield last


def _same(one: NewItem, other: NewItem) -> bool:
    return one.external_id is not None and one.external_id == other.external_id and one.content() == other.content()


def located_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file, each with where it stands; a JSON list counts as rows.

    Raises UserError for a file that cannot be read, naming the line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    yield from rows_of(path)


def from_row(origin: str, row: Row) -> NewItem:
    """One of our own rows.  prompt, and each response: a text, or a list of turns; a response also {content, source}.

    Raises UserError for a row that is none.
    """
    known = {
        "prompt",
        "responses",
        "id",
        "context",
        "priority",
        "overlap",
        "gold",
        "explanation",
        "suggestions",
        "meta",
    }
    unknown = set(row) - known
    if unknown:
        raise UserError(f"{sorted(unknown)[0]} is no part of an item ({', '.join(sorted(known))})")
    if not isinstance(row.get("responses"), list) or not row["responses"]:
        raise UserError("an item has a list of responses")
    responses = []
    for one in row["responses"]:
        if isinstance(one, dict) and not isinstance(one.get("meta") or {}, dict):
            raise UserError("the meta of a response is an object")
        whole: Row = one if isinstance(one, dict) and "content" in one and "role" not in one else {"content": one}
        responses.append(
            NewResponse(_messages(whole["content"], "assistant"), whole.get("source"), whole.get("meta") or {})
        )
    for name in ("gold", "meta", "suggestions"):
        if row.get(name) is not None and not isinstance(row[name], dict):
            raise UserError(f"{name} is an object, not {row[name]!r}")
    context = row.get("context") or {}
    if not isinstance(context, dict):
        context = {"context": str(context)}
    try:
        return NewItem(
            _messages(row.get("prompt") or [], "user"),
            responses,
            None if row.get("id") is None else str(row["id"]),
            {str(name): str(text) for name, text in context.items()},
            dict(row.get("meta") or {}),
            float(row.get("priority") or 0.0),
            row.get("overlap"),
            row.get("gold"),
            str(row.get("explanation") or ""),
            dict(row.get("suggestions") or {}),
            origin=origin,
        )
    except (TypeError, ValueError) as problem:
        raise UserError(f"no item: {problem}") from None


def _arena(origin: str, row: Row) -> NewItem:
    """A battle: both conversations share all turns but the last answer."""
    if "winner_model_a" in row:
        row = _from_55k(row)
    sides = [row.get("conversation_a"), row.get("conversation_b")]
    if not all(isinstance(side, list) and side for side in sides):
        raise UserError("a battle has conversation_a and conversation_b, or prompt, response_a and response_b")
    first, second = ([Message(str(turn["role"]), str(turn["content"])) for turn in side] for side in sides)  # pyright: ignore
    shared = 0
    while shared < min(len(first), len(second)) - 1 and first[shared] == second[shared]:
        shared += 1
    winner = str(row.get("winner", ""))
    if winner in WINNERS:
        said: Row | None = {"preference": {"winner": WINNERS[winner]}}
    elif winner.startswith("tie"):
        said = {"preference": {"winner": None, "outcome": "both_bad" if "bad" in winner else "tie"}}
    else:
        said = None
    judge = str(row.get("judge") or "arena")
    stamp = row.get("tstamp")
    given = [Given(judge, said, at=float(stamp) if isinstance(stamp, int | float) else None)] if said else []
    responses = [
        NewResponse(turns[shared:], None if row.get(name) is None else str(row[name]))
        for turns, name in ((first, "model_a"), (second, "model_b"))
    ]
    identity = None if row.get("question_id") is None else str(row["question_id"])
    return NewItem(first[:shared], responses, identity, answers=given, origin=origin)


def _from_55k(row: Row) -> Row:
    """A row of lmsys/lmsys-arena-human-preference-55k: turns of user and models in lists, which CSV holds as JSON."""
    asked, *answers = (_turns(row.get(name)) for name in ("prompt", "response_a", "response_b"))
    if any(len(said) != len(asked) for said in answers):
        raise UserError("prompt, response_a and response_b have different numbers of turns")
    first, second = (
        [turn for question, answer in zip(asked, said, strict=True) for turn in _exchange(question, answer)]
        for said in answers
    )
    won = [name for name in ("model_a", "model_b", "tie") if str(row.get(f"winner_{name}")) in ("1", "1.0", "True")]
    return {
        **{name: row.get(name) for name in ("model_a", "model_b")},
        "question_id": row.get("id"),
        "conversation_a": first,
        "conversation_b": second,
        "winner": won[0] if len(won) == 1 else "",
    }


def _exchange(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _turns(told: Any) -> list[str]:
    """Raises UserError for what is no list of texts."""
    try:
        turns = json.loads(told) if isinstance(told, str) else told
    except json.JSONDecodeError:
        turns = None
    if not isinstance(turns, list):
        raise UserError("prompt, response_a and response_b are lists of texts")
    return ["" if turn is None else str(turn) for turn in turns]


def _messages(content: Any, role: str) -> list[Message]:
    if isinstance(content, str):
        return [Message(role, content)] if content else []
    if isinstance(content, list) and all(
        isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in content
    ):
        return [Message(str(turn["role"]), str(turn["content"])) for turn in content]
    raise UserError("a prompt or response is a text, or a list of turns {role, content}")


def kept(items: Iterable[NewItem | Dropped], refused: list[tuple[str, str]]) -> Iterator[NewItem]:
    """The items; what is none goes to `refused`."""
    for one in items:
        if isinstance(one, Dropped):
            refused.append((one.origin or "", one.reason))
        else:
            yield one


def json_lines(chunks: Iterable[str]) -> Iterator[tuple[str, Row]]:
    """Rows of JSON Lines as text comes in.  Raises UserError naming the line that is none."""
    for number, line in enumerate(chunks, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            said = problem.msg if isinstance(problem, json.JSONDecodeError) else "a number or a nesting beyond reason"
            raise UserError(f"line {number} is no JSON: {said}") from None
        if not isinstance(row, dict):
            raise UserError(f"line {number} is no object")
        yield f"line {number}", row
