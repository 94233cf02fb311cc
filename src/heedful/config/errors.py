"""A schema's refusal in a person's words: which key, which value, written where, and what it must be."""

from __future__ import annotations

from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from heedful.config.tree import Key, Tree
from heedful.config.values import members

_NOUNS = {
    "finite_number": "a finite number",
    "float_": "a number",
    "int_": "a whole number",
    "bool_": "true or false",
    "string_too_short": "a word, not empty",
    "string_type": "text",
    "list_": "a list, as [a, b]",
    "tuple_": "a list, as [a, b]",
    "missing": "longer: a part is missing",
    "model_": "a mapping, as {name: value}",
    "dict_": "a mapping, as {name: value}",
}


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The schema among the types of an annotation, if there is one."""
    for member in members(annotation):
        if isinstance(member, type) and get_origin(member) is None and issubclass(member, BaseModel):
            return member
    return None


def sentence(problem: ValidationError, around: Key, tree: Tree, schema: type[BaseModel]) -> str:
    """The first thing wrong: its key, value and place, what it must be, and what the setting is for."""
    errors = problem.errors()
    first = errors[0]
    num_others = len({error["loc"][:1] for error in errors}) - 1
    more = f" (and {num_others} more)" if num_others else ""
    if not first["loc"]:
        return reason(first) + more
    field = schema.model_fields[str(first["loc"][0])]
    key = (*around, *_known_part(first["loc"], field.annotation))
    about = (
        f" [{key[-1]}: {field.description.rstrip('.')}]" if field.description and len(key) == len(around) + 1 else ""
    )
    if first["type"] == "missing" and isinstance(first["loc"][-1], str):
        lacking = ".".join(map(str, (*around, *first["loc"])))
        return f"{lacking} is missing: write {lacking}=VALUE{about}{more}"
    place = tree.place(key)
    value = "" if isinstance(first["input"], dict | list) else f"={_shown(first['input'])}"
    same = [first, *(e for e in errors[1:] if e["loc"][:1] == first["loc"][:1] and e["input"] == first["input"])]
    reasons = " or ".join(dict.fromkeys(reason(error).removeprefix("must be ") for error in same))
    must = "must be " if reason(first).startswith("must be ") else ""
    return f"{'.'.join(key)}{value}{f' ({place})' if place else ''}: {must}{reasons}{about}{more}"


def _known_part(loc: tuple[int | str, ...], annotation: Any) -> Key:
    """The key in a person's words: without the names pydantic gives to the members of a union."""
    model = model_in(annotation)
    inner = [str(part) for part in loc[1:2] if model is not None and part in model.model_fields]
    return (str(loc[0]), *inner)


def reason(error: Any) -> str:
    """What one of pydantic's errors says the value must be."""
    context = error.get("ctx", {})
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    kind = error["type"]
    if kind in bounds:
        return f"must be {words[bounds[kind]]} {context[bounds[kind]]:g}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), '')}"
    for start, noun in _NOUNS.items():
        if kind.startswith(start):
            return f"must be {noun}"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").removeprefix("Input should ")
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
