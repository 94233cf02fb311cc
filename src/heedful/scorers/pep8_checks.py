"""PEP 8 by pycodestyle's own checks, called faster than pycodestyle calls them.

What a check reads is looked up once and not at every call; what checks say of a line's text alone is remembered by the
text; and a check of comments, comparisons, continued lines or ambiguous names is called only where there is one.  The
violations are pycodestyle's, in another order.
"""

from __future__ import annotations

import bisect
import tokenize
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import pycodestyle

REMEMBERED, LONGEST = 1 << 14, 1000
"""Logical lines, and characters of each; strings in them are muted, so that many are alike."""
NEEDS = {
    "bare_except": "except",
    "comparison_to_singleton": "=",
    "comparison_type": "type",
    "continued_indentation": "\n",
    "explicit_line_join": "\\",
    "python_3000_invalid_escape_sequence": "\\",
    "whitespace_around_named_parameter_equals": "=",
    "whitespace_before_comment": "#",
}
"""Check → what stands in every line that it can object to."""
AMBIGUOUS = {"l", "O", "I"}
"""The names that `ambiguous_identifier` objects to."""
STRINGS = {
    getattr(pycodestyle, name, -1) for name in ("FSTRING_START", "FSTRING_END", "TSTRING_START", "TSTRING_END")
} - {-1}
"""Tokens of newer Pythons at which pycodestyle looks at physical lines."""

TEXT = itemgetter(1)
"""Of a token."""

Mapping = Sequence[tuple[int, tuple[int, int]]]
"""Places in a logical line, and where they are in the text: line, column."""


def found_in(lines: list[str]) -> list[tuple[int, str]]:
    """Line (from 1) and code of every violation, in no particular order, by pycodestyle's defaults.

    lines: with their ends; a byte order mark is taken off the first.  Raises whatever pycodestyle does for a text that
    it cannot read: UnicodeError, IndexError, ValueError, RecursionError.
    """
    report = _Found(_options())
    _Checker(lines=lines, options=_options(), report=report).check_all()
    return report.found


@cache
def _options() -> Any:
    """Made once: building them takes longer than checking a function."""
    # No configuration file: a score must not depend on the folder it is computed in.
    return pycodestyle.StyleGuide(config_file=False, quiet=2).options


class _Found(pycodestyle.BaseReport):
    """Keeps every violation; pycodestyle's own reports keep the first of a kind."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.found: list[tuple[int, str]] = []

    def error(self, line_number: int, offset: int, text: str, check: Any) -> str | None:
        code = text[:4]
        if not self._ignore_code(code):
            self.found.append((line_number, code))
        return code


class _Check(NamedTuple):
    """read: its arguments, from a checker.  needs: see `NEEDS`.  state: the name under which pycodestyle keeps some."""

    function: Callable[..., Any]
    read: Callable[[Any], tuple[Any, ...]]
    needs: str
    state: str | None

    @staticmethod
    def of(name: str, function: Callable[..., Any], arguments: Sequence[str]) -> _Check:
        state = name if "checker_state" in arguments else None
        return _Check(function, attrgetter(*arguments), NEEDS.get(name, ""), state)


@dataclass(frozen=True)
class _Plan:
    """The checks.  said_of: what those of a logical line's text alone say.  logical: the others.  unnamed: the others
    but for that of ambiguous names.  lines: of a physical line alone.  physical: of it and of more."""

    said_of: Callable[[str], tuple[tuple[Any, str, Any], ...]]
    logical: list[_Check]
    unnamed: list[_Check]
    lines: list[Callable[[str], tuple[int, str] | None]]
    physical: list[_Check]


@cache
def _plan() -> _Plan:
    options = _options()
    alone = [function for _, function, arguments in options.logical_checks if arguments == ["logical_line"]]
    others = [check for check in options.logical_checks if check[2] != ["logical_line"]]
    if options.max_doc_length is None:
        others = [check for check in others if check[0] != "maximum_doc_length"]

    def say(line: str) -> tuple[tuple[Any, str, Any], ...]:
        return tuple((offset, text, check) for check in alone for offset, text in check(line) or ())

    remembered = lru_cache(REMEMBERED)(say)

    def said_of(line: str) -> tuple[tuple[Any, str, Any], ...]:
        return (remembered if len(line) <= LONGEST else say)(line)

    return _Plan(
        said_of,
        [_Check.of(*check) for check in others],
        [_Check.of(*check) for check in others if check[0] != "ambiguous_identifier"],
        [function for _, function, arguments in options.physical_checks if arguments == ["physical_line"]],
        [_Check.of(*check) for check in options.physical_checks if check[2] != ["physical_line"]],
    )


class _Checker(pycodestyle.Checker):
    """Overrides how checks are called, and nothing that they find."""

    def generate_tokens(self) -> Generator[tokenize.TokenInfo, None, None]:
        """The tokens; physical lines are checked where pycodestyle would have found something to check."""
        before = ""
        try:
            for token in tokenize.generate_tokens(self.readline):
                kind, text, (row, _), (_, column), line = token
                if row > self.total_lines:
                    return
                if (
                    kind in pycodestyle.NEWLINE
                    or (kind == tokenize.STRING and "\n" in text)
                    or kind in STRINGS
                    or line[column:].lstrip() == "\\\n"
                ):
                    self.noqa = line and pycodestyle.noqa(line)
                    self.maybe_check_physical(token, before)
                yield token
                before = line
        except (SyntaxError, tokenize.TokenError):
            self.report_invalid_syntax()
        finally:
            self.noqa = before and pycodestyle.noqa(before)  # for what is left over at the end

    def check_physical(self, line: str) -> None:
        """All checks of a physical line."""
        self.physical_line = line
        plan = _plan()
        for function in plan.lines:
            if (said := function(line)) is not None:
                self.report_error(self.line_number, said[0], said[1], function)
        for function, read, _, _ in plan.physical:
            if (said := function(*read(self))) is not None:
                self.report_error(self.line_number, said[0], said[1], function)
                if said[1][:4] == "E101":
                    self.indent_char = line[0]

    def check_logical(self) -> None:
        """All checks of a logical line."""
        mapping = self.build_tokens_line()
        if not mapping:
            return
        row, column = mapping[0][1]
        self.indent_level = pycodestyle.expand_indent(self.lines[row - 1][:column])
        self.blank_before = max(self.blank_before, self.blank_lines)
        plan, tokens = _plan(), self.tokens
        for offset, text, function in plan.said_of(self.logical_line):
            self._report(offset, text, function, mapping)
        first, last = tokens[0][2][0], tokens[-1]
        whole = "".join(self.lines[first - 1 : last[3][0]]).rstrip("\n")
        if last[2][0] != first:
            whole += "\n"  # whatever the lines end with
        is_ambiguous = any(map(AMBIGUOUS.__contains__, map(TEXT, tokens)))
        for function, read, needs, state in plan.logical if is_ambiguous else plan.unnamed:
            if needs not in whole:
                continue
            if state is not None:
                self.init_checker_state(state, ["checker_state"])
            for offset, text in function(*read(self)) or ():
                self._report(offset, text, function, mapping)
        if self.logical_line:
            self.previous_indent_level = self.indent_level
            self.previous_logical = self.logical_line
            if not self.indent_level:
                self.previous_unindented_logical_line = self.logical_line
        self.blank_lines = 0
        self.tokens = []

    def _report(self, offset: Any, text: str, function: Any, mapping: Mapping) -> None:
        """offset: a place in the logical line, or in the text."""
        if not isinstance(offset, tuple):
            place, position = mapping[bisect.bisect_left([place for place, _ in mapping], offset)]
            offset = (position[0], position[1] + offset - place)
        self.report_error(offset[0], offset[1], text, function)
