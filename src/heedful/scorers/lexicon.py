"""Words and patterns counted in a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from heedful.scorers.documents import counting
from heedful.scorers.scorer import Scorer
from heedful.types import UserError


def lexicon(file: str, device: str = "cpu") -> Scorer:
    """Words of a list per character of the text, as whole words, whatever their case; spans are sentences.

    file: one word or phrase a line; a line that begins with # is a comment.
    Raises UserError for a file that cannot be read or holds no word.
    """
    lines = [line.strip() for line in _lines(file, "lexicon")]
    words = sorted((line for line in lines if line and not line.startswith("#")), key=len, reverse=True)
    if not words:
        raise UserError(f"lexicon:{file} holds no word; give one a line")
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
    return _counting("lexicon", [pattern], f"words of {file} per character")


def regex(pattern: str) -> Scorer:
    """Matches of a pattern per character of the text; spans are sentences.

    pattern: a regular expression, or a file with one a line; the matches of several are added up.  A match of no
    character is none.
    Raises UserError for a pattern that is none.
    """
    path = path_of(pattern)
    lines = [line for line in _lines(pattern, "regex") if line] if path and path.is_file() else [pattern]
    if not lines:
        raise UserError(f"regex:{pattern} holds no pattern; give one a line")
    return _counting("regex", [_compiled(line) for line in lines], f"matches of {pattern} per character")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"regex:{pattern}: this is no regular expression ({error})") from None


def _counting(name: str, patterns: Sequence[re.Pattern[str]], about: str) -> Scorer:
    def begins(text: str) -> list[int]:
        return sorted(match.start() for one in patterns for match in one.finditer(text) if match.group())

    return counting(name, begins, about)


def path_of(text: str) -> Path | None:
    """The file or folder of that name; None where there is none, or the text could be no name of one."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, RuntimeError):  # too long for a name, or ~ and no user
        return None


def _lines(file: str, scorer: str) -> list[str]:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{scorer}:{file} cannot be read ({problem}); give a file with one entry a line") from None
    return text.splitlines()
