"""Reddit comments with their votes (comments_positive.csv, comments_negative.csv): a reply to its parent."""

from __future__ import annotations

from heedful.examples.conversation import SkipRow
from heedful.examples.readers.reader import Reader, lacks, name, others, text
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response


def _comment(row: Row) -> Example:
    """The votes stay in `extra`: which comments a reward likes is for a scorer to say."""
    parent, reply = text(row, "parent_text"), text(row, "text")
    if not parent.strip() or not reply.strip():
        raise SkipRow("the comment or its parent has no text")
    response = Response([Message("assistant", reply)])
    return Example(
        [Message("user", parent)], [response], id=name(row, "id"), extra=others(row, ("parent_text", "text", "id"))
    )


REDDIT = Reader(
    "reddit",
    "Reddit comments: parent_text, text, score",
    lambda row: lacks(row, "parent_text", "text", "score"),
    _comment,
)
