"""From the settings to token stores: read, shape for the objective's view, tokenise, check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig
from heedful.examples import Shaped, attach_mismatched, load, split_by_prompt, to_demonstrations, to_lists, to_pairs
from heedful.examples import to_singles as to_labelled_singles
from heedful.objectives.reduce import Objective, needs
from heedful.objectives.views import Lists, Pairs, Singles, Tokens
from heedful.tokens import DataReport, Template, TokenStore, prepare
from heedful.types import Example, UserError

COMPUTED = frozenset({"logps", "ref_logps", "entropy", "values", "scores"})
"""What the forward or the reference cache gives; everything else an objective reads must be in the data."""


@dataclass(frozen=True)
class PreparedData:
    """Stores and data reports of the training set and, where there is one, the evaluation set."""

    train: TokenStore
    train_report: DataReport
    evaluation: TokenStore | None
    evaluation_report: DataReport | None

    def to_json(self) -> dict[str, Any]:
        """What goes into data.json."""
        parts: dict[str, Any] = {"train": {**self.train_report.to_json(), "digest": self.train.digest}}
        if self.evaluation is not None and self.evaluation_report is not None:
            parts["eval"] = {**self.evaluation_report.to_json(), "digest": self.evaluation.digest}
        return parts


def shape(examples: Sequence[Example], objective: Objective, config: TrainConfig) -> Shaped:
    """The examples in the form that the objective's view looks at, with mismatched answers where it needs them."""
    view, read = objective.view, needs(objective)
    if view is Tokens:
        shaped = to_demonstrations(examples)
    elif view is Pairs:
        shaped = to_pairs(examples, prefer=config.prefer)
    elif view is Lists:
        shaped = to_lists(examples)
    else:
        assert view is Singles, view
        shaped = to_labelled_singles(examples) if "desirable" in read else to_lists(examples)
    if objective.statistics and shaped.examples:
        mismatched = attach_mismatched(shaped.examples, seed=config.seed)
        shaped = Shaped(mismatched, shaped.dropped, shaped.notes)
    return shaped


def read_data(config: TrainConfig) -> tuple[list[Example], list[Example]]:
    """Training and evaluation examples; no prompt is in both."""
    train = load(config.data, split="train", seed=config.seed, reader=config.reader, readers=config.readers)
    if config.eval_data is not None:
        held_out = load(config.eval_data, split="test", seed=config.seed, readers=config.readers)
        return train, held_out
    if config.eval_fraction is not None:
        return split_by_prompt(train, config.eval_fraction, seed=config.seed)
    return train, []


def prepare_data(
    config: TrainConfig, objective: Objective, template: Template, cache_dir: Path, echo: Callable[[str], None]
) -> PreparedData:
    """Everything from files to stores.

    Raises UserError for data that cannot be read, a data check that fails, or labels that the objective reads and the
    data lacks.
    """
    train, held_out = read_data(config)
    store, report = _prepare(train, config, objective, template, cache_dir)
    for line in report.lines():
        echo(f"data: {line}")
    evaluation: TokenStore | None = None
    evaluation_report: DataReport | None = None
    if held_out:
        evaluation, evaluation_report = _prepare(held_out, config, objective, template, cache_dir)
        for line in evaluation_report.lines():
            echo(f"eval data: {line}")
    elif config.eval_data is not None or config.eval_fraction is not None:
        raise UserError("The evaluation set is empty: give more eval_data, or a larger eval_fraction.")
    return PreparedData(store, report, evaluation, evaluation_report)


def _prepare(
    examples: list[Example], config: TrainConfig, objective: Objective, template: Template, cache_dir: Path
) -> tuple[TokenStore, DataReport]:
    store, report = prepare(
        shape(examples, objective, config),
        template,
        max_length=config.max_length,
        max_prompt_length=config.max_prompt_length,
        train_on=config.train_on,
        cache_dir=cache_dir,
    )
    report.raise_for_errors()
    check_labels(store, objective)
    return store, report


def check_labels(store: TokenStore, objective: Objective) -> None:
    """Raise UserError if a response lacks a label that the objective reads (a margin may be absent: it means 0)."""
    real = store.columns["mismatched"] < 0.5
    for name in sorted(needs(objective) - COMPUTED - {"margin"}):
        if name not in store.columns:
            raise UserError(f"{objective.name} reads {name!r}, which no data has.")
        absent = np.flatnonzero(np.isnan(store.columns[name]) & real)
        if len(absent):
            raise UserError(
                f"{objective.name} needs the {name} of every response, and {len(absent):,} of {int(real.sum()):,} have "
                f"none (the first is {store.origin(store.example_of(int(absent[0])))}); "
                "drop those rows, label them, or choose another objective."
            )
