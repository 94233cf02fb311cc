"""From the settings to token stores: read, shape for the objective's view, tokenise, check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig
from heedful.examples import LoadReport, Shaped, load_view, load_with_report, prompt_key, split_by_prompt
from heedful.examples.digest import digest_of_examples
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs
from heedful.objectives.views import OUTPUTS
from heedful.progress import counting
from heedful.tokens.prepare import prepare
from heedful.tokens.report import DataReport
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.training.advantages import advantage_lines, make_sampler, store_advantages
from heedful.training.documents import prepare_documents, refuse_for_prompts
from heedful.training.labels import FindValues, Labelled, columns_read, refuse_idle, with_rewards, with_values
from heedful.training.prepared import PreparedData
from heedful.training.shaping import learns_from_documents, shape
from heedful.types import Echo, Example, UserError

COMPUTED = OUTPUTS | {"ref_logps"}
"""What the forward or the reference cache gives; everything else an objective reads must be in the data."""


def read_data(config: TrainConfig) -> tuple[list[Example], list[Example], dict[str, LoadReport]]:
    """Training and evaluation examples, and what became of every row of their sources."""
    common: dict[str, Any] = {"seed": config.seed, "readers": config.readers}
    train, report = load_with_report(config.data, split="train", reader=config.reader, **common)
    if config.eval_fraction is not None:
        train, held_out = split_by_prompt(train, config.eval_fraction, seed=config.seed)
        return train, held_out, {"train": report}
    if config.eval_data is None:
        return train, [], {"train": report}
    held_out, held_report = load_with_report(config.eval_data, split="eval", reader=config.reader, **common)
    return train, held_out, {"train": report, "eval": held_report}


def read_labelled(
    config: TrainConfig, template: Template, cache_dir: Path, echo: Echo, find_values: FindValues | None
) -> tuple[Labelled, dict[str, LoadReport]]:
    """The examples with the labels that the settings ask for, and what became of every row of their sources.

    The report holds digests of the examples as they were read too.  find_values: see `prepare_data`.
    """
    train, held_out, sources = read_data(config)
    digests = {"train": digest_of_examples(train), "eval": digest_of_examples(held_out)}
    for name, source in sources.items():
        for line in source.lines():
            echo(f"{name} data: {line}")
    labelled = with_rewards(config, train, held_out, cache_dir, echo)
    labelled = with_values(labelled, config, template, find_values, cache_dir, echo)
    return replace(labelled, report={"examples": digests, **labelled.report}), sources


def without_prompts_of(examples: list[Example], train: list[Example]) -> Shaped:
    """The evaluation examples whose prompt is not trained on; the others are dropped with that reason."""
    seen = {prompt_key(example) for example in train}
    shaped = Shaped()
    for example in examples:
        if prompt_key(example) in seen:
            shaped.drop(example, "its prompt is in the training data too")
        else:
            shaped.examples.append(example)
    return shaped


def prepare_data(
    config: TrainConfig,
    objective: Objective,
    template: Template,
    cache_dir: Path,
    echo: Echo,
    find_values: FindValues | None = None,
) -> PreparedData:
    """Everything from files to stores.

    find_values: how `value=reference` and `value=data` are estimated.
    Raises UserError for data that cannot be read, a data check that fails, or labels that the objective reads and the
    data lacks.
    """
    refuse_idle(config, objective)
    if learns_from_documents(objective):
        return prepare_documents(config, objective, template, cache_dir, echo)
    refuse_for_prompts(config, objective)
    look = load_view(config.view)
    labelled, sources = read_labelled(config, template, cache_dir, echo, find_values)

    def prepared(name: str, examples: Shaped) -> tuple[TokenStore, DataReport]:
        store, report = prepare(
            examples.then(look).then(shape, objective, config),
            template,
            max_length=config.max_length,
            max_prompt_length=config.max_prompt_length,
            train_on=config.train_on,
            cache_dir=cache_dir,
            progress=counting(f"examples of the {name} data tokenised", echo),
        )
        for line in report.lines():
            echo(f"{name} data: {line}")
        report.raise_for_errors()
        check_labels(store, config, objective)
        return store, report

    store, report = prepared("train", Shaped(labelled.train))
    make_sampler(config, objective, store)  # what it refuses, it refuses before any model is loaded
    extras = dict(labelled.report)
    if "value" in columns_read(config, objective) and labelled.values_known:
        extras["advantages"] = store_advantages(store)
        for line in advantage_lines(extras["advantages"]):
            echo(line)
    if config.eval_data is None and config.eval_fraction is None:
        return PreparedData(sources, store, report, None, None, extras)
    held_out = without_prompts_of(labelled.held_out, labelled.train)
    if not held_out.examples:
        raise UserError(
            f"eval_data has no prompt of its own: all {len(labelled.held_out):,} of its examples have one that is in "
            "the training data too; name other data, or hold prompts out with eval_fraction."
        )
    evaluation = prepared("eval", held_out)
    return PreparedData(sources, store, report, *evaluation, extras)


WHERE_FROM = {
    "reward": "compose them with rewards=SCORER",
    "value": "estimate it with value=reference or value=data, or give a file with value=FILE",
}
"""How labels that a run can find by itself are asked for."""


def check_labels(store: TokenStore, config: TrainConfig, objective: Objective) -> None:
    """Raise UserError if a response lacks a label that the objective or the sampling reads.

    A margin may be absent (it means 0), and a weight (1).
    """
    real = ~store.is_mismatched
    for name in sorted(columns_read(config, objective) - COMPUTED - {"margin", "weight"}):
        if name not in store.columns:
            raise UserError(f"{objective.name} reads {name!r}, which no data has.")
        absent = np.flatnonzero(np.isnan(store.columns[name]) & real)
        if len(absent):
            reader = objective.name if name in needs(objective) else f"sampling={config.sampling}"
            raise UserError(
                f"{reader} needs the {name} of every response, and {len(absent):,} of {int(real.sum()):,} have "
                f"none (the first is {store.origin(store.example_of(int(absent[0])))}); "
                f"{WHERE_FROM.get(name, 'drop those rows, label them, or choose another objective')}."
            )
