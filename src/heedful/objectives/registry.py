"""Finding an objective by its name, or in a user's own file."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from heedful.objectives import modifiers
from heedful.objectives.reduce import Objective, view_of
from heedful.objectives.settings import required_settings
from heedful.objectives.trial import needs, trainees_of, uncountable
from heedful.types import UserError
from heedful.user_file import names_file, user_function

REGISTRY: dict[str, Callable] = {}
"""Name → function; filled by the package's index."""


def register(*functions: Callable) -> None:
    """Make objectives known by their own names, with the modifiers that fit them."""
    REGISTRY.update({function.__name__: _modified(function) for function in functions})


def _modified(function: Callable) -> Callable:
    parameters = inspect.signature(function).parameters.values()
    required = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty} - {"state"}
    known = required_settings(function)
    return modifiers.attach(function, known if required <= known.keys() else None)


def get(name: str) -> Callable:
    """The objective called `name`, or the function of `path/to/file.py:function`.

    Raises UserError for an unknown name (with the nearest right one), a missing file or function, a file that does
    not import, or a function whose first parameter is not a view.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    if names_file(name):
        return _from_file(name)
    if "/" in name:
        raise UserError(
            f"there is no objective {name!r}; a recipe comes after an objective, as in heed train OBJECTIVE {name} "
            "(heed objectives lists the objectives, heed recipes the recipes)"
        )
    near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"there is no objective {name!r}{hint} (there are: {', '.join(sorted(REGISTRY))})")


def _from_file(name: str) -> Callable:
    function = user_function(name, "objective")
    if not inspect.isfunction(function):
        raise UserError(f"the objective {name} must be a function written with def, not a {type(function).__name__}.")
    try:
        view_of(function)
    except ValueError as error:
        raise UserError(f"{name.rpartition(':')[0]}: {error}.") from error
    return _modified(function)


def plain(name: str) -> Objective:
    """An objective with its defaults, and for what it requires the values that it is proved at."""
    function = get(name)
    return Objective(name, function, dict(required_settings(function)))


def bind(name: str, settings: Mapping[str, Any]) -> Objective:
    """An objective with its (already validated) settings, tried once on a toy batch.

    Raises UserError if it cannot be called, returns something that is not unreduced values, trains nothing or what no
    run trains, or couples examples without saying so.
    """
    objective = Objective(name, get(name), dict(settings))
    try:
        modifiers.check(objective)
        needs(objective)
        trainees_of(objective)
        reason = uncountable(objective)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"Objective {name} failed on a toy batch: {type(error).__name__}: {error}") from error
    if reason is not None:
        raise UserError(f"Objective {name} does not fit packs: {reason}.")
    return objective
