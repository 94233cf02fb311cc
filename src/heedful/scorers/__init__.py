"""Text to numbers.  `SCORERS` is the index; `get` also finds a user's own function."""

from __future__ import annotations

import difflib

from heedful.scorers.python_code import PEP8_FAILURE, parses, pep8, statements
from heedful.scorers.scorer import ScoreFunction, Scorer, prompt_text
from heedful.scorers.text import length
from heedful.scorers.user import load_user_scorer
from heedful.types import UserError

SCORERS: dict[str, Scorer] = {
    s.name: s
    for s in (
        Scorer("pep8", pep8, True, PEP8_FAILURE, "PEP 8 violations per 100 characters of Python"),
        Scorer("parses", parses, False, 0.0, "whether prompt and response are Python that parses"),
        Scorer("statements", statements, False, 0.0, "statements of Python, which comments and strings do not add to"),
        Scorer("length", length, False, None, "characters of the response"),
    )
}
"""Scorers that need no model, by name."""


def get(name: str) -> Scorer:
    """The scorer called `name`, or the function `path/to/file.py:function`.  Raises UserError if there is none."""
    if name in SCORERS:
        return SCORERS[name]
    if ".py:" in name:
        return load_user_scorer(name)
    near = difflib.get_close_matches(name, SCORERS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"There is no scorer {name!r}.{hint} There are {', '.join(SCORERS)}, reward-model folders, and functions of "
        "your own as path/to/file.py:function."
    )


__all__ = [
    "PEP8_FAILURE",
    "SCORERS",
    "ScoreFunction",
    "Scorer",
    "get",
    "length",
    "parses",
    "pep8",
    "prompt_text",
    "statements",
]
