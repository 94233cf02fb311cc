"""A scorer of the user's own: a function in a file."""

from __future__ import annotations

from typing import cast

from heedful.scorers.scorer import ScoreFunction, Scorer
from heedful.user_file import user_function


def load_user_scorer(spec: str) -> Scorer:
    """The scorer `path/to/file.py:function`.

    The function takes (prompts, responses) and returns a number a response; larger is better unless the function has an
    attribute `lower_is_better = True`, and an attribute `failure` is what an empty or unfinished response counts.

    Raises UserError for a missing file or function, a file that does not import, or one that takes something else.
    """
    function = user_function(spec, "scorer", takes=("prompts", "responses"))
    name = spec.rpartition(":")[2]
    about = (function.__doc__ or "").strip().split("\n")[0] or spec
    lower, failure = getattr(function, "lower_is_better", False), getattr(function, "failure", None)
    return Scorer(name, cast(ScoreFunction, function), lower, failure, about)
