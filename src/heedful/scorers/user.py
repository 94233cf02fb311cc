"""A scorer of the user's own: a function in a file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast

from heedful.scorers.scorer import ScoreFunction, Scorer
from heedful.types import UserError


def load_user_scorer(spec: str) -> Scorer:
    """The scorer `path/to/file.py:function`.

    The function takes (prompts, responses) and returns a number a response; larger is better unless the function has an
    attribute `lower_is_better = True`, and an attribute `failure` is what an empty or unfinished response counts.

    Raises UserError for a missing file or function, or a file that does not import.
    """
    name, _, function_name = spec.rpartition(":")
    path = Path(name)
    if not path.is_file():
        raise UserError(f"Scorer {spec!r}: there is no file {name!r}; write path/to/file.py:function.")
    found = importlib.util.spec_from_file_location(f"heedful_scorer_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"Scorer {spec!r}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"Scorer {spec!r}: {path} has no function {function_name!r}.")
    about = (function.__doc__ or "").strip().split("\n")[0] or f"{function_name} of {path.name}"
    lower, failure = getattr(function, "lower_is_better", False), getattr(function, "failure", None)
    return Scorer(function_name, cast(ScoreFunction, function), lower, failure, about)
