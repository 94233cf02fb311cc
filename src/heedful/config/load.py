"""Files, then overrides, then types, then the schema: what cannot be read ends in one sentence that says where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError

from heedful.config.errors import model_in, sentence
from heedful.config.schema import TrainConfig
from heedful.config.signature import settings_model
from heedful.config.suggest import did_you_mean
from heedful.config.tree import Key, Tree, merge_trees, override_tree, parse_flow, parse_tree, read_tree
from heedful.config.values import Plain, by_type
from heedful.config.within import ObjectiveConfig
from heedful.types import UserError

S = TypeVar("S", bound=BaseModel)

_WORDS = {
    "recipe": "; a recipe is a word by itself, as in heed train dpo demo/dpo",
    "config": "; a file of settings is given as --config FILE",
    "dry_run": "; it is --dry-run",
}
"""What the command takes in another way than as `key=value`."""


def load(schema: type[S], files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> S:
    """Settings of any schema from YAML files and `key=value` words.

    Mappings merge key by key, a later file wins over an earlier one and a word over every file.
    Raises UserError, one sentence with the key and the file's line.
    """
    return build(schema, merge(files, overrides))


def load_train(
    files: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    *,
    find: Callable[[str], Callable[..., Any]],
    objective: str | None = None,
) -> TrainConfig:
    """The settings of a run, with the objective's own checked against its signature and its defaults filled in.

    find: the objective's function from its name or path (`heedful.objectives.get`).
    objective: the name given on the command line; a file that names another is refused.
    """
    return build_train(merge(files, overrides), find=find, objective=objective)


def build_train(tree: Tree, *, find: Callable[[str], Callable[..., Any]], objective: str | None = None) -> TrainConfig:
    """`load_train` of settings that were read already."""
    name = _objective_name(tree, objective)
    model = settings_model(find(name))
    return build(TrainConfig, tree, {"objective": model})


def merge(files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> Tree:
    """The files and words as one tree of text, nothing yet checked."""
    return join([*(read_settings(file) for file in files), override_tree(overrides)])


def read_settings(file: str | Path) -> Tree:
    """The settings in a file.  `needs` is none of them: a recipe says there what a machine must have."""
    tree = read_tree(file)
    tree.values.pop("needs", None)
    return tree


def join(trees: Iterable[Tree]) -> Tree:
    """Trees as one, the later winning.

    One that names another objective than the one before it starts that objective's settings afresh: a beta meant for
    DPO does not leak into KTO.
    """
    merged = Tree()
    for tree in trees:
        _lengthen(tree)
        new, old = _name_in(tree), _name_in(merged)
        if new is not None and old is not None and new != old:
            del merged.values["objective"]
        merged = merge_trees([merged, tree])
    return merged


def build(schema: type[S], tree: Tree, sections: Mapping[str, type[BaseModel]] | None = None) -> S:
    """The tree as an instance of the schema.

    sections: schemas of keys whose content the schema itself leaves open (`objective`).
    """
    sections = sections or {}
    values = _with_bare_keys(schema, tree, sections)
    typed = _typed_model(values, schema, (), sections)
    try:
        for key, section in sections.items():
            inner = {name: typed[key].pop(name) for name in list(typed[key]) if name in section.model_fields}
            typed[key] |= checked(section, inner, (key,), tree)
        return schema.model_validate(typed)
    except ValidationError as problem:
        raise UserError(sentence(problem, (), tree, schema)) from None


def read_yaml(path: str | Path) -> Any:
    """A YAML file's content where no schema is at hand: unquoted text by YAML 1.2's core rules."""
    return by_type(read_tree(path).values, Any, parse_flow)


def parse_yaml(text: str, where: str) -> Any:
    """The same of a text; where: what errors call it."""
    return by_type(parse_tree(text, where).values, Any, parse_flow)


def checked(section: type[BaseModel], values: Mapping[str, Any], key: Key, tree: Tree | None = None) -> dict[str, Any]:
    """The values of a section with its defaults; UserError, one sentence, for one that does not fit.

    key: where the section stands.  tree: what was written where, for the sentence.
    """
    try:
        return section.model_validate(values).model_dump()
    except ValidationError as problem:
        raise UserError(sentence(problem, key, Tree() if tree is None else tree, section)) from None


def _lengthen(tree: Tree) -> None:
    """`objective: dpo` is short for `objective: {name: dpo}`."""
    value = tree.values.get("objective")
    if isinstance(value, str) and not value.startswith("{"):
        tree.values["objective"] = {"name": value}
        tree.places[("objective", "name")] = tree.place(("objective",))
    elif isinstance(value, Plain):
        tree.values["objective"] = parse_flow(value)


def _name_in(tree: Tree) -> str | None:
    objective = tree.values.get("objective")
    return objective.get("name") if isinstance(objective, dict) else None


def _objective_name(tree: Tree, asked: str | None) -> str:
    written = _name_in(tree)
    if asked is None and written is None:
        raise UserError(
            "no objective is named: write heed train OBJECTIVE, or objective: in a file (see heed objectives)"
        )
    if asked is not None and written is not None and asked != written:
        place = tree.place(("objective", "name"))
        raise UserError(f"the command asks for {asked}, but {place} is for objective {written}; take one of the two")
    name = str(asked if asked is not None else written)
    tree.values.setdefault("objective", {})["name"] = name
    return name


def _with_bare_keys(schema: type[BaseModel], tree: Tree, sections: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """`beta=0.05` becomes `objective.beta=0.05` where only one setting is called beta; the later of both wins."""
    values = dict(tree.values)
    inner = list(_inner_keys(schema, sections))
    for name in [name for name in values if name not in schema.model_fields]:
        homes = [key for key in inner if key[-1] == name]
        if len(homes) > 1:
            choices = " or ".join(".".join(key) for key in homes)
            raise UserError(f"{name} ({tree.place((name,))}) could be several settings; write {choices}")
        if not homes:
            every = [*schema.model_fields, *(".".join(key) for key in inner), *(key[-1] for key in inner)]
            hint = _WORDS.get(name) or did_you_mean(name, every)
            raise UserError(f"{name} ({tree.place((name,))}) is not a setting{hint}")
        section, leaf = homes[0]
        around = values.get(section)
        around = parse_flow(around) if isinstance(around, Plain) and around.startswith("{") else around
        around = dict(around) if isinstance(around, dict) else {}
        if leaf in around:
            bare, dotted = (tree.turns.get(key, 0) for key in ((name,), (section, leaf)))
            if bare == dotted:
                raise UserError(f"{name} and {section}.{leaf} are the same setting; give it once")
            if bare < dotted:
                del values[name]
                continue
        values[section] = around | {leaf: values.pop(name)}
        tree.places[(section, leaf)] = tree.place((name,))
    return values


def _inner_keys(schema: type[BaseModel], sections: Mapping[str, type[BaseModel]]) -> Iterator[Key]:
    for name, field in schema.model_fields.items():
        model = sections.get(name) or model_in(field.annotation)
        if model is not None:
            yield from ((name, leaf) for leaf in model.model_fields)


def _typed_model(values: Any, model: type[BaseModel], key: Key, sections: Mapping[str, type[BaseModel]]) -> Any:
    if not isinstance(values, Mapping):
        return values
    section = sections.get(key[0]) if key else None
    fields = {**(section.model_fields if section is not None else {}), **model.model_fields}
    typed = {}
    for name, value in values.items():
        path = (*key, name)
        if name in fields:
            field = fields[name]
        elif model is ObjectiveConfig and section is None:
            typed[name] = by_type(value, Any, parse_flow)  # no signature at hand to check it against
            continue
        else:
            raise UserError(_unknown(path, list(fields)))
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        typed[name] = _typed(value, annotation, path, sections)
    return typed


def _unknown(path: Key, choices: Sequence[str]) -> str:
    name, around = path[-1], ".".join(path[:-1])
    known = ", ".join(choice for choice in choices if choice != "name")
    return f"{'.'.join(path)} is not a setting{did_you_mean(name, choices)}; {around} has {known or 'none'}"


def _typed(value: Any, annotation: Any, key: Key, sections: Mapping[str, type[BaseModel]]) -> Any:
    model = model_in(annotation)
    if model is None:
        return by_type(value, annotation, parse_flow)
    if isinstance(value, Plain):
        value = by_type(value, annotation, parse_flow)
    return _typed_model(value, model, key, sections)
