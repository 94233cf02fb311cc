"""What objectives there are, as rows of a table, and one objective in full."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from heedful.config import settings_model
from heedful.objectives import REGISTRY, get
from heedful.objectives.reduce import Objective, needs, view_of

DATA = {
    "Tokens": "demonstrations",
    "Singles": "responses judged one by one",
    "Pairs": "preference pairs",
    "Lists": "rankings",
}
"""What data each view needs, in a person's words."""

WANTS = {
    "ref_logps": "a reference model",
    "scores": "a reward head",
    "values": "a value head",
    "entropy": "entropies",
    "reward": "rewards",
    "cost": "costs",
}
"""Columns worth naming in a table; log-probabilities of the trained model go without saying."""


def table() -> list[tuple[str, str, str, str, str]]:
    """One row an objective: name, family, the data it takes, what else it needs, where it was published."""
    return [_row(name, function) for name, function in REGISTRY.items()]


def describe(name: str) -> str:
    """An objective's docstring, what it needs, and its settings with types and defaults.

    Raises UserError for a name or path that is no objective.
    """
    function = get(name)
    row = _row(name, function)
    lines = [inspect.getdoc(function) or name, "", f"data: {row[2]}", f"needs: {row[3]}", "settings:"]
    fields = settings_model(function).model_fields
    for setting, field in fields.items():
        default = "required" if field.is_required() else f"default {_shown(field.default)}"
        lines.append(f"  objective.{setting} ({default})" + (f": {field.description}" if field.description else ""))
    return "\n".join(lines if fields else [*lines[:-1], "settings: none"])


def _row(name: str, function: Callable) -> tuple[str, str, str, str, str]:
    family = function.__module__.rpartition(".")[2].replace("_", " ")
    return name, family, DATA[view_of(function).__name__], _needs(name, function), source(function)


def _needs(name: str, function: Callable) -> str:
    settings = settings_model(function)
    if any(field.is_required() for field in settings.model_fields.values()):
        return "its required settings"
    read = needs(Objective(name, function, settings().model_dump()))
    return ", ".join(text for column, text in WANTS.items() if column in read) or "nothing else"


def source(function: Callable) -> str:
    """The first paper a docstring names, with its arXiv number where that is given; `-` if it names none."""
    doc = " ".join((inspect.getdoc(function) or "").split())
    cited = re.search(r"[A-Z][\w-]+ (?:et al\.|& [A-Z][\w-]+) \d{4}", doc)
    if cited is None:
        return "-"
    own = re.split(r"[A-Z][\w-]+ (?:et al\.|& [A-Z][\w-]+) \d{4}", doc[cited.end() :])[0]  # up to the next paper
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", own)
    return ", ".join(found[0] for found in (cited, number) if found)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
