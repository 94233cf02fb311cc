"""The settings of a command as its `--help` prints them."""

from __future__ import annotations

from textwrap import wrap

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heedful.config.errors import model_in


def settings_table(schema: type[BaseModel]) -> str:
    """Every setting with its default and what it does, those of settings that are mappings included."""
    lines = []
    for name, field in schema.model_fields.items():
        lines.append(f"  {name} ({_default(field)})")
        lines += wrap(field.description or "", 79, initial_indent="      ", subsequent_indent="      ")
        lines += _inner(name, field.annotation)
    return "\n".join(lines)


def _inner(name: str, annotation: object) -> list[str]:
    schema, lines = model_in(annotation), []
    for inner, field in ({} if schema is None else schema.model_fields).items():
        text = f"{name}.{inner} ({_default(field)}): {field.description}"
        lines += wrap(text, 79, initial_indent="        ", subsequent_indent="          ")
    return lines


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))


def _shown(default: object) -> str:
    if isinstance(default, BaseModel):
        return "as below"
    if default is None:
        return "null"
    if default in ("", []):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)
