"""What objectives there are, as rows of a table, and one objective in full."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from heedful.config import settings_model
from heedful.objectives import REGISTRY, get
from heedful.objectives.reduce import Objective, view_of
from heedful.objectives.settings import required_settings
from heedful.objectives.trial import needs

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
    "value": "values of prompts",
    "cost": "costs",
}
"""Columns worth naming in a table; log-probabilities of the trained model go without saying."""

CITED = r"(?:[A-Z]')?[A-Z][\w-]+ (?:et al\.|& [A-Z][\w-]+) \d{4}"
"""A paper as docstrings name it: Ethayarajh et al. 2024, Pang & He 2021."""


@dataclass(frozen=True)
class Entry:
    """An objective as the list shows it.  data, needs: what it learns from.  source: where it was published."""

    name: str
    family: str
    formula: str
    data: str
    needs: str
    source: str


def entries() -> list[Entry]:
    """Every objective, in the order of the index."""
    return [entry(name, function) for name, function in REGISTRY.items()]


def describe(name: str) -> str:
    """An objective's docstring, what it needs, and its settings with types and defaults.

    Raises UserError for a name or path that is no objective.
    """
    function = get(name)
    about = entry(name, function)
    lines = [
        inspect.getdoc(function) or name,
        "",
        f"data: {about.data}",
        f"needs: {about.needs or 'nothing else'}",
        "settings:",
    ]
    fields = settings_model(function).model_fields
    for setting, field in fields.items():
        default = "required" if field.is_required() else f"default {_shown(field.default)}"
        lines.append(f"  objective.{setting} ({default})" + (f": {field.description}" if field.description else ""))
    return "\n".join(lines if fields else [*lines[:-1], "settings: none"])


def entry(name: str, function: Callable) -> Entry:
    """What is known of one objective from its docstring, its first argument and what it reads."""
    family = function.__module__.rpartition(".")[2].replace("_", " ")
    data, wanted = DATA[view_of(function).__name__], _needs(name, function)
    return Entry(name, family, formula(function), data, wanted, source(function))


def formula(function: Callable) -> str:
    """What the first line of a docstring says after its colon, up to the source; empty if there is no such thing."""
    first = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    said = first.partition(": ")[2]
    return re.split(rf"\.(?: |$)(?={CITED}|$)", said)[0]


def _needs(name: str, function: Callable) -> str:
    settings, known = settings_model(function), required_settings(function)
    if any(field.is_required() and name not in known for name, field in settings.model_fields.items()):
        return "its required settings"
    read = needs(Objective(name, function, settings(**known).model_dump()))
    return ", ".join(text for column, text in WANTS.items() if column in read)


def source(function: Callable) -> str:
    """The first paper a docstring names, with its arXiv number where that is given; empty if it names none."""
    doc = " ".join((inspect.getdoc(function) or "").split())
    cited = re.search(CITED, doc)
    if cited is None:
        return ""
    own = re.split(CITED, doc[cited.end() :])[0]  # up to the next paper
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", own)
    return ", ".join(found[0] for found in (cited, number) if found)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
