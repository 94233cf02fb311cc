"""Text to values by the type a setting has, not by what the text looks like.

YAML 1.1 turns `12:30` into 750 and `no` into False whatever the setting is.  Here the schema's type decides:
`no` is False for a switch and the word for a string, `1e-5` is a number for a number, `null` is None where the
setting may be empty.  Only where a setting takes anything (`Any`) do the looks decide, by YAML 1.2's core rules.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

NULLS = frozenset({"null", "Null", "NULL", "~", ""})
TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.?(inf|nan)", re.IGNORECASE)

ParseFlow = Callable[[str], Any]
"""Reads `[a, b]` or `{a: 1}`; raises UserError on text that is neither."""


class Plain(str):
    """Text written without quotes, in YAML or on the command line: it may mean a number, a switch or nothing."""

    __slots__ = ()


class NotOfType(ValueError):
    """The text does not have the type; the message says what the type is."""


def by_type(value: Any, annotation: Any, parse_flow: ParseFlow) -> Any:
    """`value` as `annotation` wants it; whatever does not fit is returned as it is, for the schema to refuse.

    value: a tree of dicts, lists and strings (`Plain` where unquoted), or values that already have a type.
    """
    annotation = _unwrapped(annotation)
    if isinstance(value, str):
        return _text(value, annotation, parse_flow)
    if isinstance(value, list | tuple):
        item = _item_type(annotation)
        return [by_type(part, item(i), parse_flow) for i, part in enumerate(value)]
    if isinstance(value, Mapping):
        inner = _value_type(annotation)
        return {str(key): by_type(part, inner, parse_flow) for key, part in value.items()}
    return value


def core(text: str) -> Any:
    """Unquoted text by YAML 1.2's core rules: null, true, false, integers, floats; everything else is itself."""
    if text in NULLS:
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or re.fullmatch(r"[-+]?\.inf|\.nan", text, re.IGNORECASE):
        return _number(text)
    return str(text)


def _text(text: str, annotation: Any, parse_flow: ParseFlow) -> Any:
    choices = members(annotation)
    if not isinstance(text, Plain) and (str in choices or Any in choices):
        return text
    if text in NULLS and type(None) in choices and not (text == "" and str in choices):
        return None
    for wants, convert in _CONVERTERS:
        for member in choices:
            if wants(member):
                try:
                    return convert(text, member, parse_flow)
                except NotOfType:
                    continue
    return str(text)


def members(annotation: Any) -> list[Any]:
    """The types of a union, or the one type; bounds and aliases taken off."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for member in get_args(annotation) for part in members(member)]
    return [annotation]


def _unwrapped(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return getattr(annotation, "__value__", annotation)


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return (
        isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset | Sequence) and origin is not str
    )


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and (issubclass(origin, Mapping) or hasattr(origin, "model_fields"))


def _item_type(annotation: Any) -> Callable[[int], Any]:
    for member in members(annotation):
        if _is_list(member):
            args = get_args(member)
            if get_origin(member) is tuple and Ellipsis not in args and args:
                return lambda i: args[min(i, len(args) - 1)]
            return lambda i: args[0] if args else Any
    return lambda i: Any


def _value_type(annotation: Any) -> Any:
    for member in members(annotation):
        if _is_mapping(member) and len(get_args(member)) == 2:
            return get_args(member)[1]
    return Any


def _literal(text: str, member: Any, _: ParseFlow) -> Any:
    for choice in get_args(member):
        if str(choice) == text:
            return choice
    raise NotOfType


def _switch(text: str, _member: Any, _: ParseFlow) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise NotOfType
    return text.lower() in TRUE


def _whole(text: str, _member: Any, _: ParseFlow) -> int:
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and _number(text).is_integer():  # 1e3 is a whole number to a person
        return int(_number(text))
    raise NotOfType


def _real(text: str, _member: Any, _: ParseFlow) -> float:
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return _number(text)
    raise NotOfType


def _number(text: str) -> float:
    special = _SPECIAL.fullmatch(text)
    if special is None:
        return float(text)
    if special[2].lower() == "nan":
        return math.nan
    return -math.inf if special[1] == "-" else math.inf


def _listed(text: str, member: Any, parse_flow: ParseFlow) -> list[Any]:
    if not text.lstrip().startswith("["):
        raise NotOfType
    return by_type(parse_flow(text), member, parse_flow)


def _mapped(text: str, member: Any, parse_flow: ParseFlow) -> Any:
    if not text.lstrip().startswith("{"):
        raise NotOfType
    return by_type(parse_flow(text), member, parse_flow)


def _anything(text: str, _member: Any, parse_flow: ParseFlow) -> Any:
    if text.lstrip().startswith(("[", "{")):
        return by_type(parse_flow(text), Any, parse_flow)
    return core(text)


def _word(text: str, _member: Any, _: ParseFlow) -> str:
    return str(text)


def _bare_list(text: str, member: Any, parse_flow: ParseFlow) -> list[Any]:
    """`0.9,0.95` for a setting that can only be a list."""
    parts = [Plain(part.strip()) for part in text.split(",")]
    return by_type(parts, member, parse_flow)


# From the most particular reading to the least: a union takes the first that fits.
_CONVERTERS: list[tuple[Callable[[Any], bool], Callable[[str, Any, ParseFlow], Any]]] = [
    (lambda member: get_origin(member) is Literal, _literal),
    (lambda member: member is bool, _switch),
    (lambda member: member is int, _whole),
    (lambda member: member is float, _real),
    (_is_list, _listed),
    (_is_mapping, _mapped),
    (lambda member: member is Any or member is object, _anything),
    (lambda member: member is str, _word),
    (_is_list, _bare_list),
]
