"""What `heed compare` is asked for: its own settings, those of every run, and those of single objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.config import CompareConfig, TrainConfig, build, did_you_mean, join, settings_model
from heedful.config.load import read_settings
from heedful.config.tree import Tree, merge_trees, override_tree
from heedful.objectives import get
from heedful.recipes import names as recipe_names
from heedful.recipes import recipe_path
from heedful.types import UserError

GROUPS = {"archangel": ("sft", "csft", "dpo", "kto", "ppo_offline", "slic")}
"""Several objectives by one word, each from the model and after sft: the matrix of Ethayarajh et al. 2024."""


@dataclass(frozen=True)
class Step:
    """One link of a chain.

    label: how it is called, and how its settings are.  objective: name or file.py:function.  recipe: the settings that
    it begins with.  own: the settings that only it has, with those of the objective itself under `objective`.
    """

    label: str
    objective: str
    recipe: Tree
    own: Tree


@dataclass(frozen=True)
class Asked:
    """The whole request.  shared: settings of every run; chains: the steps of each thing that is compared."""

    config: CompareConfig
    shared: Tree
    chains: list[list[Step]]


def read_request(objectives: Sequence[str], words: Sequence[str], files: Iterable[str | Path] = ()) -> Asked:
    """What words and files ask for: `NAME=VALUE` for the comparison or every run, `dpo.NAME=VALUE` for one objective.

    Raises UserError, one sentence, for a name that is no objective or recipe and a key that nothing reads.
    """
    tree = merge_trees([*(read_settings(file) for file in files), override_tree(words)])
    if objectives:
        tree.values["objectives"] = list(objectives)
    if "objectives" not in tree.values:
        raise UserError("nothing to compare: write heed compare sft dpo kto model=… data=… eval_fraction=0.1")
    own_keys = {key: tree.values.pop(key) for key in list(tree.values) if key in CompareConfig.model_fields}
    config = _with_groups(build(CompareConfig, Tree(own_keys, tree.places)))
    texts = [chain_of(text) for text in config.objectives]
    steps = _steps({text for chain in texts for text in chain}, tree)
    if "objective" in tree.values:
        raise UserError("objective: heed compare takes objectives as words, or a list of them under objectives:")
    _refuse_unknown(tree, steps)
    return Asked(config, tree, [[steps[text] for text in chain] for chain in texts])


def chain_of(text: str) -> list[str]:
    """`sft+dpo` as its steps."""
    parts = [part.strip() for part in text.split("+")]
    if not all(parts):
        raise UserError(f"{text}: a chain is written sft+dpo, with an objective on both sides of each +")
    return parts


def _with_groups(config: CompareConfig) -> CompareConfig:
    """Groups spelled out, and what `after` adds."""
    after = config.after
    found: list[str] = []
    for text in config.objectives:
        found += GROUPS.get(text, (text,))
        after = "sft" if text in GROUPS and after is None else after
    if after is not None:
        if "+" in after:
            raise UserError(f"after={after}: name one objective; a longer chain is written out, as sft+dpo+kto")
        found += [f"{after}+{text}" for text in found if text != after and "+" not in text]
    return config.model_copy(update={"objectives": list(dict.fromkeys(found))})


def _steps(texts: set[str], tree: Tree) -> dict[str, Step]:
    """Each text as a step; its own settings are taken out of the tree."""
    steps: dict[str, Step] = {}
    labels: dict[str, str] = {}
    for text in sorted(texts):
        recipe, objective = _recipe_and_objective(text)
        label = text.rpartition(":")[2]
        if label in labels:
            raise UserError(f"{labels[label]} and {text} would both be called {label}; rename the function of one")
        labels[label] = text
        steps[text] = Step(label, objective, recipe, _own_settings(tree, label, objective))
    return steps


def _recipe_and_objective(text: str) -> tuple[Tree, str]:
    """The recipe that `text` names, or an empty one that names the objective."""
    if text in recipe_names() or ("/" in text and ".py" not in text):
        recipe = join([read_settings(recipe_path(text))])
        if "objective" not in recipe.values:
            raise UserError(f"{text} names no objective to compare; give its settings to every run as --config {text}")
        return recipe, recipe.values["objective"]["name"]
    get(text)
    return Tree({"objective": {"name": text}}), text


def _own_settings(tree: Tree, label: str, objective: str) -> Tree:
    """What stands under `label`, taken out of the tree."""
    values = tree.values.pop(label, {})
    if not isinstance(values, Mapping):
        raise UserError(f"{label}={values}: settings of one objective are written {label}.NAME=VALUE")
    every = TrainConfig.model_fields.keys()
    inner = settings_model(get(objective)).model_fields.keys() - every
    for key in values:
        if key not in every and key not in inner:
            hint = did_you_mean(key, inner) or did_you_mean(key, every)
            known = ", ".join(sorted(inner)) or "none"
            raise UserError(f"{label}.{key} is not a setting{hint}; {label} has {known}, and those of heed train")
    own = Tree({key: value for key, value in values.items() if key not in inner})
    own.places = {key[1:]: place for key, place in tree.places.items() if key[0] == label and len(key) > 1}
    if bare := {key: value for key, value in values.items() if key in inner}:
        own.values = {"objective": {**own.values.pop("objective", {}), **bare}, **own.values}
        own.places |= {("objective", *key): place for key, place in own.places.items() if key[0] in bare}
    return own


def _refuse_unknown(tree: Tree, steps: Mapping[str, Step]) -> None:
    """Raise UserError for a key that is no setting of the comparison, of every run, or an objective's name."""
    for key in tree.values:
        if key in TrainConfig.model_fields:
            continue
        place = next((place for path, place in tree.places.items() if path[0] == key), "a file")
        named = [step for step in steps.values() if key in settings_model(get(step.objective)).model_fields]
        if named:
            label = named[0].label
            raise UserError(f"{key} ({place}) belongs to one objective: write {label}.{key}=VALUE for {label}")
        labels = [step.label for step in steps.values()]
        if isinstance(tree.values[key], Mapping):
            raise UserError(f"{key} ({place}) is not compared here{did_you_mean(key, labels)}; {', '.join(labels)} are")
        hint = did_you_mean(key, [*CompareConfig.model_fields, *TrainConfig.model_fields])
        raise UserError(f"{key} ({place}) is not a setting{hint}")
