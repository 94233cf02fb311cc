"""The runs of a comparison: chains and sweeps spelled out, each as the settings of a training run of its own."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.config import CompareConfig, TrainConfig, build_train, join
from heedful.config.tree import Tree
from heedful.config.values import Plain
from heedful.objectives import get
from heedful.recipes import names as recipe_names
from heedful.training import resolve_objective
from heedful.training.labels import without_idle
from heedful.types import UserError
from heedful.workflows.compare_settings import Asked, Step

RUNS = "runs"
SAME = (
    *("data", "eval_data", "eval_fraction", "reader", "readers", "view", "seed", "prefer", "template", "train_on"),
    *("max_length", "max_prompt_length", "dtype", "device", "engine", "cache_dir", "trust_remote_code"),
)
"""Settings that no two runs of a comparison may differ in: they would see other data, or other arithmetic."""
BUDGET = ("batch_size", "batch_unit", "epochs", "steps", "sampling")
"""Settings of order and budget: runs may differ in them, and the report says so."""


@dataclass(frozen=True)
class Run:
    """One training run.

    parent: the run whose final model it starts from; None for the comparison's own model.
    recipe: the recipe that it was asked for by, if it was.
    """

    name: str
    config: TrainConfig
    parent: Run | None
    recipe: str | None

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.config.out)


@dataclass(frozen=True)
class Plan:
    """runs: all, in an order in which they can run; members: those that are compared."""

    config: CompareConfig
    runs: list[Run]
    members: list[Run]

    @property
    def out(self) -> Path:
        """The comparison's folder."""
        return Path(self.config.out)

    @property
    def first(self) -> TrainConfig:
        """Settings of the first run, for what is the same in all: the model, the data, the seed."""
        return self.runs[0].config


def make_plan(asked: Asked) -> Plan:
    """Every run that was asked for.

    Raises UserError for a setting that an objective lacks, runs that would not be comparable, and no evaluation set.
    """
    _refuse_no_prompts(asked.shared)
    runs: dict[str, Run] = {}
    members: list[Run] = []
    for chain in asked.chains:
        for variants in itertools.product(*(_variants(step) for step in chain)):
            run = None
            for step, (name, own) in zip(chain, variants, strict=True):
                run = _run(asked, step, name, own, run, runs)
            assert run is not None
            if run not in members:
                members.append(run)
    plan = Plan(asked.config, list(runs.values()), members)
    _refuse_incomparable(plan)
    return plan


def _run(asked: Asked, step: Step, name: str, own: Tree, parent: Run | None, runs: dict[str, Run]) -> Run:
    """The run of one step, made once for all chains that have it."""
    name = name if parent is None else f"{parent.name}+{name}"
    if name not in runs:
        place = Path(asked.config.out) / RUNS / folder_name(name)
        if place in [run.path for run in runs.values()]:
            raise UserError(f"{name}: two runs would have the folder {place}; give one of them other settings")
        recipe = step.label if step.label in recipe_names() else None
        runs[name] = Run(name, _settings(asked, step, own, place, parent), parent, recipe)
    return runs[name]


def chain_name(run: Run) -> str:
    """A run's chain without the values of its sweeps: sft+dpo."""
    own = run.name.removeprefix(f"{run.parent.name}+" if run.parent else "").partition(" ")[0]
    return own if run.parent is None else f"{chain_name(run.parent)}+{own}"


def folder_name(name: str) -> str:
    """A run's name as that of a folder."""
    return re.sub(r"[^\w.+=,-]+", "-", name).strip("-")


def _settings(asked: Asked, step: Step, own: Tree, place: Path, parent: Run | None) -> TrainConfig:
    fixed: dict[str, Any] = {"out": str(place)}
    if parent is not None:
        fixed["model"] = str(parent.path)
        if parent.config.lora is not None or parent.config.adapter is not None:
            # What it starts from is an adapter on the model, which it continues.
            fixed |= {"lora": Plain("null"), "adapter": Plain("null")}
    trees = [_defaults(asked.config), step.recipe, asked.shared, own, Tree(fixed)]
    try:
        config = build_train(join(copy.deepcopy(trees)), find=get)
        return without_idle(config, resolve_objective(config))  # rewards and values are for those that read them
    except UserError as error:
        raise UserError(f"{step.label}: {error}") from None


def _defaults(config: CompareConfig) -> Tree:
    """What a comparison sets of its own accord: two evaluations an epoch, and the best model by the reward is kept."""
    if config.judges and config.validation_prompts:
        return Tree({"eval_every": Plain("0.5"), "keep_best": Plain("max:eval/reward")})
    return Tree({"eval_every": Plain("0.5")})


def _variants(step: Step) -> list[tuple[str, Tree]]:
    """(name, settings) of every combination of the step's sweeps; the step itself if there is none."""
    leaves = dict(_leaves(step.own.values))
    sweeps = {key: found for key, value in leaves.items() if (found := swept(value))}
    variants = []
    for values in itertools.product(*sweeps.values()):
        tree = copy.deepcopy(step.own)
        for key, value in zip(sweeps, values, strict=True):
            _assign(tree.values, key, value)
        chosen = " ".join(
            f"{'.'.join(key[key[0] == 'objective' :])}={v}" for key, v in zip(sweeps, values, strict=True)
        )
        variants.append((f"{step.label} {chosen}".strip(), tree))
    return variants


def swept(value: Any) -> list[Plain]:
    """`0.05,0.1` as its values; empty for anything else.  Commas within brackets belong to one value."""
    if not isinstance(value, Plain):
        return []
    parts = [Plain(part.strip()) for part in re.split(r",(?![^\[{]*[\]}])", value)]
    if len(parts) < 2:
        return []
    if not all(parts) or len(set(parts)) < len(parts):
        raise UserError(f"{value}: a sweep names different values with commas between them, as 0.05,0.1,0.3")
    return parts


def _leaves(values: Mapping[str, Any], key: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        found += _leaves(value, (*key, name)) if inner else [((*key, name), value)]
    return found


def _assign(values: dict[str, Any], key: Sequence[str], value: Any) -> None:
    for name in key[:-1]:
        values = values[name]
    values[key[-1]] = value


def _refuse_incomparable(plan: Plan) -> None:
    """Raise UserError for runs on different data, of different lengths of text, or without prompts to compare on."""
    first = plan.runs[0]
    for run in plan.runs[1:]:
        names = [*SAME, *(["model"] if run.parent is None else [])]
        pairs = {name: (getattr(run.config, name), getattr(first.config, name)) for name in names}
        different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if different:
            listed = ", ".join(f"{name}={own} where {first.name} has {one}" for name, (own, one) in different.items())
            raise UserError(
                f"{run.name} could not be compared, with {listed}; give {' and '.join(different)} for all of them"
            )
    if plan.first.overwrite:
        raise UserError(
            f"overwrite=true: delete {plan.out} yourself, or choose another out=, to begin a comparison anew"
        )


def _refuse_no_prompts(shared: Tree) -> None:
    if shared.values.keys().isdisjoint(("eval_data", "eval_fraction")):
        raise UserError(
            "heed compare needs prompts that nothing was trained on: give eval_data=FILE, or eval_fraction=0.1 to hold "
            "out a share of data"
        )


def differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The settings in which the runs differ, names and places apart: setting → run → value.

    An objective's own settings stand in one row, as text.
    """
    dumped = {run.name: run.config.model_dump(mode="json", exclude={"model", "out"}) for run in runs}
    for values in dumped.values():
        settings = {**values.pop("objective")}
        values["objective"] = f"{settings.pop('name')}({', '.join(f'{k}={v}' for k, v in settings.items())})"
    flat = {name: {".".join(key): value for key, value in _leaves(values)} for name, values in dumped.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    found = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {key: row for key, row in found.items() if len({repr(value) for value in row.values()}) > 1}
