"""PEP 8 by pycodestyle's own checks, called faster than pycodestyle calls them.

What a check reads is looked up once and not at every call; what checks say of a line's text alone is remembered by the
text; and a check of comments, comparisons, continued lines or tabs is called only where there are some.  The violations
are pycodestyle's, in another order.
"""

from __future__ import annotations

import bisect
import keyword
import re
import tokenize
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import pycodestyle

from heedful.scorers.python_tokens import scan

REMEMBERED, LONGEST = 1 << 14, 1000
"""Logical lines, and characters of each; strings in them are muted, so that many are alike."""
SIGNS = {
    "bare_except": "except",
    "comparison_to_singleton": "[=!]=",
    "comparison_type": "type",
    "continued_indentation": "\n",
    "explicit_line_join": r"\\",
    "python_3000_invalid_escape_sequence": r"\\",
    "whitespace_before_comment": "#",
    "whitespace_before_parameters": r"\s[(\[]",
}
"""Check → a pattern of what stands in the rows of every logical line that it can object to."""
WORDS = {
    "ambiguous_identifier": {"l", "O", "I"},
    "missing_whitespace": {",", ";", ":"}.union(
        pycodestyle.WS_NEEDED_OPERATORS, pycodestyle.WS_OPTIONAL_OPERATORS, pycodestyle.UNARY_OPERATORS
    ),
    "missing_whitespace_after_keyword": set(keyword.kwlist),
    "whitespace_around_named_parameter_equals": {"="},
}
"""Check that looks at tokens → those of which one stands in every line that it can object to."""
STRINGS = {
    getattr(pycodestyle, name, -1) for name in ("FSTRING_START", "FSTRING_END", "TSTRING_START", "TSTRING_END")
} - {-1}
"""Tokens of newer Pythons at which pycodestyle looks at physical lines."""

ODD = STRINGS | {tokenize.ERRORTOKEN}
"""Tokens for which lines are built by pycodestyle."""

KIND, TEXT = itemgetter(0), itemgetter(1)
"""Of a token."""
NESTING = dict.fromkeys("([{", 1) | dict.fromkeys(")]}", -1)
UNEVEN = {"maximum_line_length", "tabs_obsolete", "tabs_or_spaces"}
"""Checks that object to long lines only, to tabs, and to spaces where lines were first indented by something else."""

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
    """read: its arguments, from a checker.  sign, words: see `SIGNS`, `WORDS`.  state: the name under which pycodestyle
    keeps some."""

    function: Callable[..., Any]
    read: Callable[[Any], tuple[Any, ...]]
    sign: Callable[[str], Any] | None
    words: set[str]
    state: str | None

    @staticmethod
    def of(name: str, function: Callable[..., Any], arguments: Sequence[str]) -> _Check:
        sign = re.compile(SIGNS[name]).search if name in SIGNS else None
        state = name if "checker_state" in arguments else None
        read = attrgetter(*arguments)
        return _Check(
            function,
            read if len(arguments) > 1 else lambda checker: (read(checker),),
            sign,
            WORDS.get(name, set()),
            state,
        )


@dataclass(frozen=True)
class _Plan:
    """The checks.  said_of: what those of a logical line's text alone say.  logical: the others.  physical: of physical
    lines, of which `even` are those that are not `UNEVEN`."""

    said_of: Callable[[str], tuple[tuple[Any, str, Any], ...]]
    logical: list[_Check]
    physical: list[_Check]
    even: list[_Check]


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

    physical = [_Check.of(*check) for check in options.physical_checks]
    even = [check for check in physical if check.function.__name__ not in UNEVEN]
    return _Plan(said_of, [_Check.of(*check) for check in others], physical, even)


class _Checker(pycodestyle.Checker):
    """Overrides how checks are called, and nothing that they find."""

    def generate_tokens(self) -> Generator[tokenize.TokenInfo, None, None]:
        """Those tokens that may end a logical line; the others are put straight where pycodestyle would put them.

        Physical lines are checked where pycodestyle would have found something to check.
        """
        depth, before, is_joined = 0, "", False
        try:
            for token in scan(self.readline):
                kind, text, (row, _), (_, column), line = token
                if row > self.total_lines:
                    return
                if line is not before:
                    is_joined = line[-2:] == "\\\n"
                if (
                    kind in pycodestyle.NEWLINE
                    or (kind == tokenize.STRING and "\n" in text)
                    or kind in STRINGS
                    or (is_joined and line[column:].lstrip() == "\\\n")
                ):
                    self.noqa = "#" in line and pycodestyle.noqa(line)
                    self.maybe_check_physical(token, before)
                before = line
                if kind == tokenize.OP:
                    depth += NESTING.get(text, 0)
                if kind in pycodestyle.NEWLINE and not depth:
                    yield token
                else:
                    self.tokens.append(token)
        except (SyntaxError, tokenize.TokenError):
            self.report_invalid_syntax()
        finally:
            self.noqa = before and pycodestyle.noqa(before)  # for what is left over at the end

    def check_physical(self, line: str) -> None:
        """All checks of a physical line."""
        self.physical_line = line
        plan = _plan()
        is_even = len(line) <= self.max_line_length and "\t" not in line and self.indent_char in (None, " ")
        for function, read, *_ in plan.even if is_even else plan.physical:
            if (said := function(*read(self))) is not None:
                self.report_error(self.line_number, said[0], said[1], function)
                if said[1][:4] == "E101":
                    self.indent_char = line[0]

    def build_tokens_line(self) -> list[tuple[int, tuple[int, int]]] | None:
        """Of one row: what stands from its first token to its last before a comment, with strings muted."""
        kinds = set(map(KIND, self.tokens))
        if self.tokens[0][2][0] != self.tokens[-1][3][0] or not kinds.isdisjoint(ODD):
            return super().build_tokens_line()
        tokens = [token for token in self.tokens if token[0] not in pycodestyle.SKIP_TOKENS]
        if not tokens:
            return None
        begin, line = tokens[0][2], tokens[0][4]
        self.noqa = tokens[-1][0] == tokenize.COMMENT and pycodestyle.noqa(tokens.pop()[1])
        if not tokens:
            self.logical_line = ""
            return [(0, begin)]
        end, place, pieces = tokens[-1][3], begin[1], []
        for _, text, (_, column), (_, after), _ in [token for token in tokens if token[0] == tokenize.STRING]:
            pieces += [line[place:column], pycodestyle.mute_string(text)]
            place = after
        self.logical_line = "".join([*pieces, line[place : end[1]]])
        return [(0, begin), (len(self.logical_line), end)]

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
        texts = set(map(TEXT, tokens))
        for function, read, sign, words, state in plan.logical:
            if (sign is not None and not sign(whole)) or (words and words.isdisjoint(texts)):
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
