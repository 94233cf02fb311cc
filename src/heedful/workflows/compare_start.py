"""The start of a comparison: mistakes are found, data is tokenised once for all runs, what is compared is noted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from typing import Any

from heedful.models.folders import digest_of, resolve
from heedful.objectives.trial import needs
from heedful.recipes.needs import check
from heedful.scorers.identity import identity_of
from heedful.tokens.memory import remembering_tokens
from heedful.training import resolve_objective, train
from heedful.training.context import cache_folder, check_models
from heedful.training.data import PreparedData, prepare_data
from heedful.training.labels import ESTIMATED
from heedful.training.run_folder import check_writable
from heedful.training.shaping import load_template
from heedful.training.trainee import optimizer_arguments
from heedful.types import Echo, UserError
from heedful.workflows.compare_plan import Plan, Run
from heedful.workflows.compare_prompts import HeldOut
from heedful.workflows.reference_value import find_values
from heedful.workflows.tables import write_json

RECORD = "comparison.json"


def refuse_unfit(plan: Plan, *, trains: bool) -> None:
    """Raise UserError for what no run could be made of: places, models, objectives that give no answers.

    trains: whether a GPU, or a model of the hub, that a recipe needs must be there too, beside its files.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("heed compare runs in one process; start it without torchrun, srun or accelerate launch")
    check_writable(plan.out)
    if plan.out.is_dir() and any(plan.out.iterdir()) and not (plan.out / RECORD).exists():
        raise UserError(f"out={plan.out} is not empty and holds no comparison; name another folder")
    for run in plan.runs:
        if "scores" in needs(resolve_objective(run.config)):
            raise UserError(f"{run.name} trains a model that gives scores, not answers; heed compare compares answers")
        optimizer_arguments(run.config)
        first = startable(run).config
        check(filter(None, [run.recipe]), first, ("file", "network", "login", "gpu") if trains else ("file",))
        check_models(first)


def startable(run: Run) -> Run:
    """The run with the model that its chain begins with, which is there before anything was trained."""
    first = run
    while first.parent is not None:
        first = first.parent
    return replace(run, config=run.config.model_copy(update={"model": first.config.model}), parent=None)


def prepare_all(plan: Plan, *, dry_run: bool, echo: Echo) -> dict[str, PreparedData]:
    """Each run's data, tokenised into the cache: mistakes in it are found, and what each can use is known.

    A text is tokenised once, whatever forms objectives want it in.  Runs whose values are estimated come last, since
    that takes long; a later link of a chain values the answers of a model that is not there yet.
    """
    found = {}
    with remembering_tokens():
        for run in sorted(plan.runs, key=_estimates_values):
            config = startable(run).config
            objective = resolve_objective(config)
            template, cache_dir = load_template(config, objective), cache_folder(config.cache_dir)
            values = partial(find_values, dry_run=dry_run or run.parent is not None)
            say = echo if _estimates_values(run) and run.parent is None else lambda line: None
            found[run.name] = prepare_data(config, objective, template, cache_dir, say, values)
    return found


def _estimates_values(run: Run) -> bool:
    return run.config.value in ESTIMATED


def begin(plan: Plan, held_out: HeldOut) -> None:
    """Write what the comparison is of, or raise UserError if it began with something else."""
    record = {
        "model": digest_of(resolve(plan.first.model, trust_remote_code=plan.first.trust_remote_code)),
        "data": held_out.digests,
        **validation_record(plan, held_out),
    }
    path = plan.out / RECORD
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in record.items() if before.get(name) != value]
        if changed:
            raise UserError(
                f"{plan.out}: its {' and '.join(changed)} changed since the comparison began, so old and new runs "
                "could not be compared; put the old one back, or choose another out="
            )
    write_json(path, record)


def validation_record(plan: Plan, held_out: HeldOut) -> dict[str, Any]:
    """What decides the numbers of a validation: who judges what answers.  Nothing where there is none."""
    if not held_out.validation:
        return {"judges": {}, "validation": {}}
    asked = plan.config
    sampling = {name: getattr(asked, name) for name in ("max_new_tokens", "temperature", "top_p")}
    prompts = [[[m.role, m.content] for m in example.prompt] for example in held_out.validation]
    judges = {name: [identity_of(name), weight] for name, weight in asked.judges.items()}
    return {"judges": judges, "validation": {**sampling, "prompts": prompts}}


def describe(plan: Plan, held_out: HeldOut, data: dict[str, PreparedData], echo: Echo) -> None:
    """What a dry run says: every run as its own dry run does, and the answers that would be sampled."""
    for run in plan.runs:
        start = f", from the final model of {run.parent.name}" if run.parent else ""
        echo(f"{run.name}{start}: {data[run.name].train.num_examples:,} examples")
        train(
            startable(run).config,
            dry_run=True,
            echo=lambda line: echo(f"  {line}"),
            find_values=partial(find_values, dry_run=True),
        )
    asked = plan.config
    num = len(held_out.test) * asked.samples_per_prompt
    echo(
        f"would then sample {num:,} answers of at most {asked.max_new_tokens:,} tokens to {len(held_out.test):,} "
        f"held-out prompts from each of {len(plan.members) + 1} models, judged by {', '.join(asked.judges) or 'nobody'}"
    )
    if held_out.validation:
        echo(f"and, at every evaluation, {len(held_out.validation):,} answers to other held-out prompts")
    echo(f"into {plan.out}; nothing was written there")
