"""A scorer of the user's own: a function in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

from heedful.config.watch import Split
from heedful.scorers.scorer import DocumentFunction, ScoreFunction, Scorer
from heedful.types import Span, UserError
from heedful.user_file import user_function


def load_user_scorer(spec: str) -> Scorer:
    """The scorer `path/to/file.py:function`.

    The function takes (prompts, responses) and returns a number a response; larger is better unless the function has an
    attribute `lower_is_better = True`, and an attribute `failure` is what an empty or unfinished response counts.
    An attribute `split` says in which pieces it scores documents: `lines`, `sentences`, `none` (as without it), or
    `own`: then it returns pairs (number, [(start, end, number), …]), whose characters [start, end) tile the response.

    Raises UserError for a missing file or function, a file that does not import, one that takes something else, or
    another split.
    """
    function = user_function(spec, "scorer", takes=("prompts", "responses"))
    name = spec.rpartition(":")[2]
    about = (function.__doc__ or "").strip().split("\n")[0] or spec
    lower, failure = getattr(function, "lower_is_better", False), getattr(function, "failure", None)
    split: Any = getattr(function, "split", "none")
    if split not in get_args(Split):
        raise UserError(f"{spec}: {name}.split must be one of {', '.join(get_args(Split))}, not {split!r}.")
    if split != "own":
        return Scorer(name, cast(ScoreFunction, function), lower, failure, about, split=split)

    def numbers(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [number for number, _ in function(prompts, responses)]

    return Scorer(name, numbers, lower, failure, about, document=_documents(function, 1 if lower else -1))


def _documents(function: Callable[..., Any], sign: int) -> DocumentFunction:
    """Documents are responses to nothing.  sign: what makes lower better."""

    def document(texts: Sequence[str]) -> list[tuple[float, list[Span]]]:
        return [
            (sign * float(number), [Span(int(start), int(end), sign * float(score)) for start, end, score in pieces])
            for number, pieces in function([""] * len(texts), texts)
        ]

    return document
