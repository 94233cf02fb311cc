"""YAML files and `key=value` words to one tree of unread text, remembering where each value was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from heedful.config.values import Plain
from heedful.types import UserError

Key = tuple[str, ...]

COMMAND_LINE = "the command line"


@dataclass
class Tree:
    """Nested dicts, lists and strings, and the place (`run.yaml line 3`) every key was last written.

    turns: of trees that were merged, in which of them a key was last written; larger is later.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    turns: dict[Key, int] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where `key`, or the nearest mapping around it, was written; empty if nobody wrote it."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.places:
                return self.places[key[:end]]
        return ""


def read_tree(path: str | Path) -> Tree:
    """The mapping in a YAML (or JSON) file.  UserError names the line of whatever is not one."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of a YAML file of settings") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: cannot be read as text: {problem}") from None
    return parse_tree(text, str(path))


def parse_tree(text: str, where: str) -> Tree:
    """The mapping that a YAML (or JSON) text spells.  where: what errors call it, before the line."""
    tree = Tree()
    node = _compose(text, where)
    if node is None:
        return tree
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{where}: holds a {_kind(node)}, but settings are a mapping of `key: value` lines")
    try:
        tree.values = _plain(node, (), tree.places, where)
    except RecursionError:
        raise UserError(f"{where}: nests too deeply, or an anchor holds itself") from None
    return tree


def parse_flow(text: str) -> Any:
    """`[a, b]` or `{a: 1}` as lists, dicts and strings."""
    node = _compose(text, text)
    return _plain(node, (), {}, text) if node is not None else None


def merge_trees(trees: Iterable[Tree]) -> Tree:
    """One tree: mappings key by key, anything else whole, later wins."""
    merged = Tree()
    for tree in trees:
        turn = max(merged.turns.values(), default=-1) + 1
        merged.turns |= {key: turn + tree.turns.get(key, 0) for key in _keys(tree.values)}
        merged.values = _merged(merged.values, tree.values)
        merged.places.update(tree.places)
    return merged


def override_tree(words: Sequence[str]) -> Tree:
    """`a.b=c` words as a tree; later words win."""
    tree = Tree()
    for word in words:
        key, value = _split(word)
        _assign(tree.values, key, value)
        tree.places[key] = COMMAND_LINE
    return tree


def _split(word: str) -> tuple[Key, Plain]:
    if word.startswith("-"):
        name = word.lstrip("-").partition("=")[0].replace("-", "_") or "key"
        raise UserError(f"{word}: settings are written without dashes, as {name}=VALUE")
    name, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{word}: settings are written key=value, for example lr=1e-5")
    key = tuple(name.strip().split("."))
    if not all(key):
        raise UserError(f"{word}: {name or 'nothing'} is not the name of a setting; write key=value")
    return key, Plain(value)


def _assign(values: dict[str, Any], key: Key, value: Any) -> None:
    *path, last = key
    for name in path:
        inner = values.get(name)
        if isinstance(inner, Plain) and inner.startswith("{"):
            inner = parse_flow(inner)
        values[name] = inner if isinstance(inner, dict) else {}
        values = values[name]
    values[last] = value


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old[key], value) if key in old else value for key, value in new.items()}


def _keys(values: dict[str, Any], around: Key = ()) -> Iterator[Key]:
    """Every key of nested mappings, also of those that are still text."""
    for name, value in values.items():
        yield (*around, name)
        inner = parse_flow(value) if isinstance(value, Plain) and value.startswith("{") else value
        if isinstance(inner, dict):
            yield from _keys(inner, (*around, name))


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as problem:
        line = f" line {problem.problem_mark.line + 1}" if problem.problem_mark else ""
        reason = " ".join(part for part in (problem.context, problem.problem) if part)
        raise UserError(f"{where}{line}: this is not YAML ({reason})") from None
    except yaml.YAMLError as problem:
        raise UserError(f"{where}: this is not YAML ({' '.join(str(problem).split())})") from None


def _plain(node: yaml.Node, key: Key, places: dict[Key, str], where: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise UserError(f"{where} line {name_node.start_mark.line + 1}: a key must be a word")
            name, line = name_node.value, name_node.start_mark.line + 1
            if name in values:
                raise UserError(f"{where} line {line}: {'.'.join((*key, name))} is set twice; keep one of the two")
            places[(*key, name)] = f"{where} line {line}"
            values[name] = _plain(value_node, (*key, name), places, where)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*key, str(i)), places, where) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return Plain(node.value) if node.style is None else node.value


def _kind(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"
