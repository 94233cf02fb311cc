"""Labels that are found before tokenising: rewards by scorers and reward models, values of prompts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig
from heedful.config.within import DEFAULT_FIT
from heedful.examples import prompt_key
from heedful.examples.conversation import RowError, to_messages
from heedful.examples.rows import rows_of
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs
from heedful.progress import counting
from heedful.scorers.rewards import Rewards, Scoring
from heedful.tokens.columns import COMPONENT
from heedful.tokens.templates import Template
from heedful.training.world import choose_device
from heedful.types import TEXT, Echo, Example, Message, UserError

ESTIMATED = ("reference", "data")
"""Values of `value=` that are estimated, not read; whoever starts the run hands in how."""


@dataclass(frozen=True)
class Values:
    """What prompts are worth under the reference policy.

    of: by `value_key`.  report: how they were found, for data.json.  known: whether they are what they say, not what a
    dry run puts in their place.
    """

    of: Mapping[Hashable, float]
    report: dict[str, Any] = field(default_factory=dict)
    known: bool = True


@dataclass(frozen=True)
class ValueTask:
    """What values are to be estimated from.

    train, held_out: the examples, their rewards attached; every prompt of both is to be valued.
    rewards: how new texts are judged; None if only a column of the data has rewards.
    """

    config: TrainConfig
    template: Template
    train: list[Example]
    held_out: list[Example]
    rewards: Rewards | None
    cache_dir: Path
    echo: Echo


def value_key(example: Example) -> Hashable:
    """What a value belongs to: the prompt's turns; all documents have the same, empty one."""
    return prompt_key(example) if example.prompt else None


FindValues = Callable[[ValueTask], Values]


@dataclass(frozen=True)
class Labelled:
    """The examples with every label that the settings ask for.

    report: where rewards and values came from, for data.json.  values_known: see `Values`.
    """

    train: list[Example]
    held_out: list[Example]
    rewards: Rewards | None
    report: dict[str, Any]
    values_known: bool = True


def drawn_by(config: TrainConfig, objective: Objective) -> str | None:
    """What responses are drawn by, `advantage` or `reward`; None where all take their turn."""
    if config.sampling == "uniform":
        return None
    return config.sampling_by or ("advantage" if "value" in needs(objective) else "reward")


def columns_read(config: TrainConfig, objective: Objective) -> frozenset[str]:
    """The columns that the objective or the sampling reads."""
    drawn = {None: (), "reward": ("reward",), "advantage": ("reward", "value")}[drawn_by(config, objective)]
    return needs(objective).union(drawn)


def idle_settings(config: TrainConfig, objective: Objective) -> list[str]:
    """`value` and `rewards`, where they are given and nothing reads them."""
    read = columns_read(config, objective)
    idle = ["value"] if config.value is not None and "value" not in read else []
    return idle + (["rewards"] if config.rewards and "reward" not in read and config.prefer != "reward" else [])


def without_idle(config: TrainConfig, objective: Objective) -> TrainConfig:
    """The settings without rewards and values that nothing reads: for settings that several objectives share."""
    idle: dict[str, Any] = dict.fromkeys(idle_settings(config, objective))
    return config.model_copy(update=idle | ({"value_fit": DEFAULT_FIT} if "value" in idle else {}))


def refuse_idle(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError for rewards or values that nothing reads."""
    idle = idle_settings(config, objective)
    if "value" in idle:
        raise UserError(f"value={config.value} has no effect: {objective.name} reads no value; leave it out.")
    if "rewards" in idle:
        raise UserError(
            f"rewards={', '.join(config.rewards or [])} has no effect: {objective.name} reads no reward; leave it out, "
            "or let the rewards decide which response is better with prefer=reward."
        )


def with_rewards(
    config: TrainConfig, train: list[Example], held_out: list[Example], cache_dir: Path, echo: Echo
) -> Labelled:
    """Every response with the reward that `rewards=` composes, and what each source of it said.

    Raises UserError for a source that is not there, RunError for one that fails.
    """
    if config.rewards is None:
        return Labelled(train, held_out, None, {})
    scoring = Scoring(
        cache_dir,
        str(choose_device(config.device)),
        lambda name: counting(f"responses scored by {name}", echo),
        echo,
    )
    rewards = Rewards.fit(config.rewards, train, scoring)
    train = rewards.attach(train, scoring)
    report = {"rewards": rewards_report(rewards, train)}
    for name, of in report["rewards"].items():
        echo(f"rewards: {name} times {of['weight']:g}: mean {of['mean']:.4g}, deviation {of['deviation']:.4g}")
    return Labelled(train, rewards.attach(held_out, scoring), rewards, report)


def rewards_report(rewards: Rewards, examples: Sequence[Example]) -> dict[str, dict[str, Any]]:
    """What each source said of the examples, before weight and normalisation."""
    report = {}
    for name, part in rewards.parts.items():
        said = np.array([r.extra[COMPONENT + name] for example in examples for r in example.responses])
        spread = {"mean": said.mean(), "deviation": said.std(), "min": said.min(), "max": said.max()}
        report[name] = {**part.model_dump(), **{key: float(value) for key, value in spread.items()}}
    return report


def with_values(
    labelled: Labelled, config: TrainConfig, template: Template, find: FindValues | None, cache_dir: Path, echo: Echo
) -> Labelled:
    """Every response with the value of its prompt, where `value=` says where it comes from.

    find: how values are estimated.  Raises UserError for a file that lacks a prompt's value.
    """
    if config.value is None:
        return labelled
    if config.value in ESTIMATED:
        if find is None:
            raise UserError(
                f"value={config.value} is estimated by heed train and heed value; from Python, hand train() "
                "heedful.workflows.reference_value.find_values, or name a file of heed value."
            )
        task = ValueTask(config, template, labelled.train, labelled.held_out, labelled.rewards, cache_dir, echo)
        values = find(task)
    else:
        values = read_values(Path(config.value))
    train, held_out = (_valued(examples, values, config.value) for examples in (labelled.train, labelled.held_out))
    report = {**labelled.report, "value": values.report}
    return replace(labelled, train=train, held_out=held_out, report=report, values_known=values.known)


def _valued(examples: Sequence[Example], values: Values, source: str) -> list[Example]:
    found = []
    for example in examples:
        value = values.of.get(value_key(example))
        if value is None:
            raise UserError(f"value={source} has no value for the prompt of {example.origin or example.id}.")
        responses = [replace(r, extra={**r.extra, "value": value}) for r in example.responses]
        found.append(replace(example, responses=responses))
    return found


def read_values(path: Path) -> Values:
    """A file of rows {prompt, value}, as heed value writes; a prompt is a list of turns, or a text taken verbatim.

    Raises UserError naming the row for whatever is not one.
    """
    if not path.is_file():
        raise UserError(f"value={path}: no such file; it is {' or '.join(ESTIMATED)}, or a file of heed value.")
    of: dict[Hashable, float] = {}
    for origin, row in rows_of(path):
        prompt, value = row.get("prompt"), row.get("value")
        try:
            turns = [Message(TEXT, prompt)] if isinstance(prompt, str) else to_messages(prompt, "prompt")
        except RowError as error:
            raise UserError(f"{origin}: {error}.") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise UserError(f"{origin}: value must be a number, not {value!r}.")
        of[value_key(Example(turns, []))] = float(value)
    return Values(of, {"file": str(path), "prompts": len(of)})
