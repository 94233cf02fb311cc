"""Tokens of Python source: those of the standard library's `tokenize`, found faster.

Until Python 3.11 that module scans by a pattern that tries names, the most common tokens, last.  Later ones scan in C,
and are asked here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from token import (
    COMMENT,
    DEDENT,
    ENDMARKER,
    ERRORTOKEN,
    EXACT_TOKEN_TYPES,
    INDENT,
    NAME,
    NEWLINE,
    NL,
    NUMBER,
    OP,
    STRING,
)
from tokenize import TokenError, TokenInfo, generate_tokens

BLANKS, TAB = " \t\f", 8
PREFIX = "(?:[bB][rR]?|[rR][bBfF]?|[fF][rR]?|[uU])?"
DIGITS = "[0-9](?:_?[0-9])*+"
EXPONENT = f"[eE][-+]?{DIGITS}"
FLOAT = rf"(?:(?:{DIGITS}\.(?:{DIGITS})?|\.{DIGITS})(?:{EXPONENT})?|{DIGITS}{EXPONENT})"
WHOLE = r"0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?0)*+|[1-9](?:_?[0-9])*+"
SINGLE, DOUBLE = (rf"{quote}(?!{quote}{quote})[^\n{quote}\\]*(?:\\.[^\n{quote}\\]*)*" for quote in "'\"")
"""A string of one line as far as its last quote."""

SCANNED = {
    "name": (NAME, r"[A-Za-z_]\w*+(?![\"'])"),
    "open": (OP, r"[(\[{]"),
    "close": (OP, r"[)\]}]"),
    "mark": (OP, r"[,;~]|[:=](?!=)|\.(?![.0-9])"),
    "end": (NEWLINE, r"\r?\n"),
    "string": (STRING, f"{PREFIX}(?:{SINGLE}'|{DOUBLE}\")"),
    "comment": (COMMENT, r"\#[^\r\n]*"),
    "number": (NUMBER, f"(?:{FLOAT}|{DIGITS})[jJ]|{FLOAT}|{WHOLE}"),
    "joined": (None, r"\\\r?\n"),
    "nothing": (None, r"\Z"),
    "open string": (None, f"{PREFIX}(?:'''|\"\"\")"),
    "broken string": (None, rf"{PREFIX}(?:{SINGLE}|{DOUBLE})\\\r?\n"),
    "operator": (OP, "|".join(map(re.escape, sorted(EXACT_TOKEN_TYPES, reverse=True)))),
    "word": (None, r"\w+"),
}
"""What stands at a place of a line → its token and pattern; the first that matches.  A word is a name or unknown."""
PLACE = re.compile(f"[{BLANKS}]*+(?:{'|'.join(f'({pattern})' for _, pattern in SCANNED.values())})")
KINDS = (None, *(kind for kind, _ in SCANNED.values()))
NUMBERS = {name: group for group, name in enumerate(SCANNED, start=1)}
JOINED, OPEN_STRING, BROKEN_STRING, WORD = map(NUMBERS.__getitem__, ("joined", "open string", "broken string", "word"))
"""Their groups in `PLACE`."""
OPENED = [{"open": 1, "close": -1}.get(name, 0) for name in ("", *SCANNED)]
"""The brackets that a group opens."""
REST = {
    quotes: re.compile(rf"[^{quotes[0]}\\]*(?:(?:\\.{inner})[^{quotes[0]}\\]*)*{quotes}")
    for quotes, inner in (("'", ""), ('"', ""), ("'''", "|'(?!'')"), ('"""', '|"(?!"")'))
}
"""Quotes → what is left, in a line, of a string that they end."""


def scan(readline: Callable[[], str]) -> Iterator[TokenInfo]:
    """The tokens of the lines that `readline` gives, "" after the last: those of `tokenize.generate_tokens`.

    From Python 3.12 on it is that function.
    Raises TokenError and IndentationError where that does.
    """
    row, depth, joined, broken, indents, line = 0, 0, False, False, [0], ""
    match, new = PLACE.match, tuple.__new__  # a TokenInfo's own __new__ takes twice as long
    while True:
        before, line = line, readline()
        row, position, size = row + 1, 0, len(line)
        if not depth and not joined:
            position = size - len(line.lstrip(BLANKS))
            if position == size:
                break
            if line[position] in "#\r\n":
                end = len(line.rstrip("\r\n")) if line[position] == "#" else position
                if end > position:
                    yield TokenInfo(COMMENT, line[position:end], (row, position), (row, end), line)
                yield TokenInfo(NL, line[end:], (row, end), (row, size), line)
                continue
            column = _column(line[:position])
            if column > indents[-1]:
                indents.append(column)
                yield TokenInfo(INDENT, line[:position], (row, 0), (row, position), line)
            while column < indents[-1]:
                if column not in indents:
                    place = ("<tokenize>", row, position, line)
                    raise IndentationError("unindent does not match any outer indentation level", place)
                indents.pop()
                yield TokenInfo(DEDENT, "", (row, position), (row, position), line)
        elif not line:
            raise TokenError("EOF in multi-line statement", (row, 0))
        joined = False
        while position < size:
            found = match(line, position)
            if found is None:
                yield TokenInfo(ERRORTOKEN, line[position], (row, position), (row, position + 1), line)
                position += 1
                continue
            group: int = found.lastindex  # pyright: ignore[reportAssignmentType]: one has matched
            kind, text, (begin, position) = KINDS[group], found[group], found.span(group)
            if kind is not None:
                depth += OPENED[group]
                if kind == NEWLINE and depth > 0:
                    kind = NL
                yield new(TokenInfo, (kind, text, (row, begin), (row, position), line))
            elif group == WORD:
                kind = NAME if text[0].isidentifier() else OP
                yield TokenInfo(kind, text, (row, begin), (row, position), line)
            elif group == JOINED:
                joined = True
            elif group == OPEN_STRING and (end := REST[text[-3:]].match(line, position)):
                position = end.end()
                yield TokenInfo(STRING, line[begin:position], (row, begin), (row, position), line)
            elif group in (OPEN_STRING, BROKEN_STRING):
                quotes = text[-3:] if group == OPEN_STRING else text.lstrip("bBrRfFuU")[0]
                broken = broken or group == BROKEN_STRING  # and until a string ends, whatever its quotes
                token, line = _long_string(quotes, readline, line, (row, begin), broken)
                broken = token.type == ERRORTOKEN
                (row, position), size = token.end, len(line)
                yield token
    if before and before[-1] not in "\r\n" and not before.strip().startswith("#"):
        yield TokenInfo(NEWLINE, "", (row - 1, len(before)), (row - 1, len(before) + 1), "")
    for _ in indents[1:]:
        yield TokenInfo(DEDENT, "", (row, 0), (row, 0), "")
    yield TokenInfo(ENDMARKER, "", (row, 0), (row, 0), "")


def _column(indent: str) -> int:
    """A form feed begins anew."""
    return len(indent.rpartition("\f")[2].expandtabs(TAB))


def _long_string(
    quotes: str, readline: Callable[[], str], line: str, begin: tuple[int, int], broken: bool
) -> tuple[TokenInfo, str]:
    """The token of a string that goes on after its first line, and the last line read.

    broken: each line but the last ends with a backslash; an ERRORTOKEN where one does not.
    """
    row, text, lines = begin[0], line[begin[1] :], line
    while line := readline():
        row += 1
        if end := REST[quotes].match(line):
            position = end.end()
            return TokenInfo(STRING, text + line[:position], begin, (row, position), lines + line), line
        text += line
        if broken and not line.endswith(("\\\n", "\\\r\n")):
            return TokenInfo(ERRORTOKEN, text, begin, (row, len(line)), lines), line
        lines += line
    raise TokenError("EOF in multi-line string", begin)


if sys.version_info >= (3, 12):
    scan = generate_tokens
