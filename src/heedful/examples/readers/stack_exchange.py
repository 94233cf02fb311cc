"""Stack Exchange preferences: a question and its answers with the votes they got, in HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from heedful.examples.conversation import RowError, SkipRow, kind
from heedful.examples.readers.reader import Reader, items, lacks, name, number, others, text
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response

BLOCKS = ("p", "pre", "blockquote", "ul", "ol", "h1", "h2", "h3", "hr")
"""Elements that stand apart from what is before them."""


class _Text(HTMLParser):
    """The words of an HTML text; code stays as it is written, between backticks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.fenced = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in BLOCKS:
            self.parts.append("\n\n")
        elif tag in ("br", "li"):
            self.parts.append("\n")
        if tag == "pre":
            self.fenced = True
            self.parts.append("```\n")
        elif tag == "code" and not self.fenced:
            self.parts.append("`")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self.fenced = False
            self.parts.append("```")
        elif tag == "code" and not self.fenced:
            self.parts.append("`")

    def handle_data(self, data: str) -> None:
        self.parts.append(data if self.fenced or data.strip() else " " if data else "")


def plain(html: str) -> str:
    """The text of an HTML page's part, blank lines between its paragraphs."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = "".join(parser.parts).strip()
    while "\n\n\n" in lines:
        lines = lines.replace("\n\n\n", "\n\n")
    return lines


def _question(row: Row) -> Example:
    """All answers; their votes are rewards and ranks, and answers with equal votes are ties."""
    answers = [_answer(answer, index) for index, answer in enumerate(items(row, "answers"))]
    if not answers:
        raise SkipRow("a question without answers")
    order = sorted({answer.reward for answer in answers if answer.reward is not None}, reverse=True)
    for answer in answers:
        answer.rank = None if answer.reward is None else order.index(answer.reward) + 1
    prompt = [Message("user", plain(text(row, "question")))]
    return Example(prompt, answers, id=name(row, "qid"), extra=others(row, ("question", "answers", "qid")))


def _answer(value: Any, index: int) -> Response:
    if not isinstance(value, dict):
        raise RowError(f"answers[{index}] must be a mapping with 'text' and 'pm_score', not {kind(value)}")
    extra = others(value, ("text", "pm_score"))
    return Response([Message("assistant", plain(text(value, "text")))], reward=number(value, "pm_score"), extra=extra)


def _declines(row: Row) -> str | None:
    answers = row.get("answers")
    scored = isinstance(answers, list) and all(isinstance(answer, dict) and "pm_score" in answer for answer in answers)
    return lacks(row, "question", "answers") or (None if scored else "no 'pm_score' in 'answers'")


STACK_EXCHANGE = Reader(
    "stack-exchange", "Stack Exchange preferences: question, answers with text and pm_score", _declines, _question
)
