"""Plain text and source files: every file is one document."""

from __future__ import annotations

from heedful.examples.conversation import SkipRow
from heedful.examples.readers.reader import NO_TEXT, Reader, cell
from heedful.examples.rows import Row
from heedful.types import TEXT, Example, Message, Response


def _declines(row: Row) -> str | None:
    return None if isinstance(row.get("text"), bytes) else "not a text or source file"


def _document(row: Row) -> Example:
    raw = cell(row, "text")
    if not isinstance(raw, bytes | str):
        raise SkipRow(NO_TEXT)
    try:
        content = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SkipRow("a file that is not UTF-8 text") from None
    if not content.strip():
        raise SkipRow("an empty file")
    return Example([], [Response([Message(TEXT, content)])])


DOCUMENTS = Reader("text", "plain text and source files (.txt, .md, .py ...), one document each", _declines, _document)
