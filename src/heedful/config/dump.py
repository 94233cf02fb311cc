"""Settings to YAML that reads back as the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from heedful.config.values import core


class _Dumper(yaml.SafeDumper):
    """Quotes every string that unquoted text could be taken for something else."""


def dump_yaml(settings: BaseModel | Mapping[str, Any]) -> str:
    """The settings as YAML, in the schema's order; `read_yaml` or `load` gives them back unchanged."""
    values = settings.model_dump() if isinstance(settings, BaseModel) else dict(settings)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    mistakable = core(text) != text or text[:1] in ("[", "{") or text != text.strip()
    style = '"' if mistakable or not text.isprintable() else None  # YAML folds all kinds of line ends
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _sequence(dumper: yaml.SafeDumper, items: Any) -> yaml.SequenceNode:
    flow = all(isinstance(item, int | float | bool | None) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", list(items), flow_style=flow)


_Dumper.add_representer(str, _string)
_Dumper.add_multi_representer(str, _string)
for _kind in (list, tuple, set, frozenset):
    _Dumper.add_representer(_kind, _sequence)
_Dumper.add_multi_representer(Path, lambda dumper, path: _string(dumper, str(path)))
