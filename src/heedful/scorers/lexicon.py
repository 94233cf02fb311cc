"""Words and patterns counted in a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from heedful.scorers.scorer import Scorer
from heedful.types import UserError


def lexicon(file: str, device: str = "cpu") -> Scorer:
    """Words of a list per character of the text, as whole words, whatever their case; spans are sentences.

    file: one word or phrase a line; what follows a # is a comment.
    Raises UserError for a file that cannot be read or holds no word.
    """
    words = _lines(file, "lexicon")
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})(?!\w)", re.I)
    return _counting("lexicon", pattern, f"words of {file} per character")


def regex(pattern: str, device: str = "cpu") -> Scorer:
    """Matches of a pattern per character of the text; spans are sentences.

    pattern: a regular expression, or a file with one a line.
    Raises UserError for a pattern that is none.
    """
    patterns = _lines(pattern, "regex") if Path(pattern).expanduser().is_file() else [pattern]
    for one in patterns:
        try:
            re.compile(one)
        except re.error as error:
            raise UserError(f"regex:{one}: this is no regular expression ({error})") from None
    return _counting("regex", re.compile("|".join(f"(?:{one})" for one in patterns)), f"matches of {pattern}")


def _counting(name: str, pattern: re.Pattern[str], about: str) -> Scorer:
    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [sum(1 for _ in pattern.finditer(text)) / max(len(text), 1) for text in responses]

    return Scorer(name, function, True, None, about, split="sentences")


def _lines(file: str, scorer: str) -> list[str]:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{scorer}:{file} cannot be read ({problem}); give a file with one entry a line") from None
    found = [line.partition("#")[0].strip() for line in text.splitlines()]
    if not any(found):
        raise UserError(f"{scorer}:{file} holds no entry; give one a line")
    return [line for line in found if line]
