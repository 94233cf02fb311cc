"""A settings schema from a function's signature: the keyword-only parameters, their types, bounds and defaults."""

from __future__ import annotations

import builtins
import inspect
import re
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from heedful.types import UserError

HANDED_IN = frozenset({"state", "generator"})
"""Parameters the loop fills; they are not settings."""

RESERVED = frozenset({"name", "settings"})
"""Names that `objective:` uses for itself."""


class Settings(BaseModel):
    """Base of every schema built from a signature: frozen, nothing but what the signature names."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())


@lru_cache(maxsize=256)
def settings_model(function: Callable[..., Any]) -> type[Settings]:
    """The schema of a function's settings: one field per keyword-only parameter, its modifiers' after its own.

    Annotations may be strings and may carry bounds (`Annotated[float, Gt(0)]`).  A parameter without a default is
    required.  Descriptions are the docstring's `name: what it does` lines.  `state` and `generator` are skipped.

    Raises UserError for a parameter without a type, a `**kwargs` (it would swallow mistyped names) and the names
    `name` and `settings`, which are taken.
    """
    name = getattr(function, "__name__", "function")
    fields = _fields(function, name)
    for modifier in getattr(function, "modifiers", ()):
        fields = {**fields, **_fields(modifier.function, name)}
    return create_model(f"{name}_settings", __base__=Settings, **fields)


def _fields(function: Callable[..., Any], name: str) -> dict[str, Any]:
    lines = descriptions(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise UserError(f"{name}: **{parameter.name} would swallow mistyped settings; name every setting instead")
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in HANDED_IN:
            continue
        if parameter.name in RESERVED:
            raise UserError(f"{name}: a setting cannot be called {parameter.name}; choose another name")
        annotation = _resolved(function, parameter, name)
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (annotation, Field(default, description=lines.get(parameter.name)))
    return fields


def descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """The docstring's `name: what it does` and `one, other: …` paragraphs, each on one line."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        start = re.match(r"([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*): +\S", line)
        if start:
            names = start[1].split(", ")
            found |= {name: [line[start.end() - 1 :]] for name in names}
        elif line.strip():
            for name in names:
                found[name].append(line.strip())
        else:
            names = []
    return {name: " ".join(lines) for name, lines in found.items()}


def _resolved(function: Callable[..., Any], parameter: inspect.Parameter, name: str) -> Any:
    """The annotation as an object; only this parameter's is evaluated, so shapes elsewhere may be unresolvable."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        raise UserError(f"{name}: the setting {parameter.name} has no type; write {parameter.name}: float = …")
    inner = inspect.unwrap(function)
    scope = {**vars(builtins), **vars(typing), **getattr(inner, "__globals__", {})}
    try:
        while isinstance(annotation, str):  # twice where it is quoted under `from __future__ import annotations`
            annotation = eval(annotation, scope)
    except Exception as problem:
        raise UserError(f"{name}: the type {annotation} of {parameter.name} cannot be read: {problem}") from None
    return annotation
