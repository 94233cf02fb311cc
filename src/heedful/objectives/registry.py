"""Finding an objective by its name, or in a user's own file."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heedful.objectives.reduce import Objective, needs, uncountable, view_of
from heedful.types import UserError

REGISTRY: dict[str, Callable] = {}
"""Name → function; filled by the package's index."""


def get(name: str) -> Callable:
    """The objective called `name`, or the function of `path/to/file.py:function`.

    Raises UserError for an unknown name (with the nearest right one), a missing file or function, a file that does
    not import, or a function whose first parameter is not a view.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    path, colon, function_name = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), function_name)
    if name.endswith(".py"):
        raise UserError(f"{name}: name the function too, as in {name}:my_objective.")
    near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"there is no objective {name!r}{hint} (there are: {', '.join(sorted(REGISTRY))})")


def _from_file(path: Path, function_name: str) -> Callable:
    if not path.is_file():
        raise UserError(f"{path}: no such file; an objective of your own is named path/to/file.py:function.")
    spec = importlib.util.spec_from_file_location(f"heedful_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not inspect.isfunction(function):
        found = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        raise UserError(f"{path} has no function {function_name!r}; it has {', '.join(found) or 'none'}.")
    try:
        view_of(function)
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error
    return function


def bind(name: str, settings: Mapping[str, Any]) -> Objective:
    """An objective with its (already validated) settings, tried once on a toy batch.

    Raises UserError if it cannot be called, returns something that is not unreduced values, trains nothing or what no
    run trains, or couples examples without saying so.
    """
    objective = Objective(name, get(name), dict(settings))
    try:
        needs(objective)
        _ = objective.trainees
        reason = uncountable(objective)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"Objective {name} failed on a toy batch: {type(error).__name__}: {error}") from error
    if reason is not None:
        raise UserError(f"Objective {name} does not fit packs: {reason}.")
    return objective
