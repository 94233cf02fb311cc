"""One training run, from its settings to its run folder.  Reads top to bottom."""

from __future__ import annotations

from pathlib import Path

import torch

from heedful.config import TrainConfig, checked, settings_model
from heedful.objectives import bind, get
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import trainees_of
from heedful.progress import duration
from heedful.rollouts.watch import Watch
from heedful.tokens.packs import pack_lengths
from heedful.training import budget
from heedful.training.assemble import make_loop, save_final
from heedful.training.checkpoints import last_checkpoint_sentence
from heedful.training.context import (
    Context,
    cache_folder,
    check_models,
    check_weights,
    freeze,
    load_trained_model,
    model_digests,
    num_parameters,
    prepared_by_main,
    refuse_changed_data,
    refuse_changed_models,
    refuse_too_long,
    state_bytes,
    token_columns,
)
from heedful.training.data import prepare_data
from heedful.training.engine import wrap
from heedful.training.environment import environment
from heedful.training.estimate import seconds_of
from heedful.training.labels import FindValues
from heedful.training.live_reference import check_reference, live_reference
from heedful.training.loop import interruption
from heedful.training.metrics import reset_peak_memory
from heedful.training.run_folder import FINAL, RunFolder, begin_run, inspect_run
from heedful.training.samples import Validate, check_samples
from heedful.training.shaping import load_template
from heedful.training.trackers import check_tracker
from heedful.training.trainee import check_trainees, make_trainee, optimizer_arguments
from heedful.training.world import World, lost_process, start
from heedful.types import Echo, RunError, UserError

FEW_STEPS = 10
"""Fewer are remarked on: what is trained so briefly is hardly another model."""


def train(
    config: TrainConfig,
    *,
    dry_run: bool = False,
    echo: Echo = print,
    validate: Validate | None = None,
    find_values: FindValues | None = None,
    watch: Watch | None = None,
) -> Path:
    """Train as the settings say and return the run folder; continue the run that is there, if it is unfinished.

    dry_run: only say what would run, on what, with how much memory.
    validate: judges the model by its own answers at every evaluation; see `samples.Validate`.
    echo: where progress lines go (the main process's only).
    watch: what `watch=` asks for: looks at the model at the start, between steps and at the end.
    find_values: estimates what prompts are worth under the reference, for value=reference and value=data; see `labels`.

    Raises UserError for a mistake in settings, data or model, before training starts; RunError if the run fails;
    Interrupted after SIGTERM or SIGINT, once everything is saved.
    """
    objective = resolve_objective(config)
    optimizer_arguments(config)
    check_trainees(config, objective)
    check_reference(config, objective)
    check_samples(config, objective)
    check_tracker(config)
    if config.watch is not None and watch is None and not dry_run:
        raise UserError("watch= asks for looks in between: from Python, hand in watch=make_watch(config) as well.")
    folder = inspect_run(config)
    config = folder.config
    world = start(config.engine, config.device, None if config.world_size == "auto" else config.world_size)
    if config.threads != "auto":
        torch.set_num_threads(config.threads)
    if validate is not None and world.engine == "fsdp2":
        raise UserError("engine=fsdp2 shards the model, and validation by its answers needs it whole; use engine=ddp.")
    echo = echo if world.is_main else lambda line: None
    if folder.status == "finished":
        echo(f"{folder.path}: this run is finished; overwrite=true starts it anew")
        return folder.path
    context = prepare_run(folder, objective, world, echo, find_values)
    if dry_run:
        describe(context)
    else:
        run(context, new=folder.status == "new", validate=validate, watch=watch)
    return folder.path


def resolve_objective(config: TrainConfig) -> Objective:
    """The objective with its settings checked against its signature and its defaults filled in.

    Raises UserError for settings that do not fit, and whatever `bind` refuses.
    """
    model = settings_model(get(config.objective.name))
    return bind(config.objective.name, checked(model, config.objective.settings, ("objective",)))


def prepare_run(
    folder: RunFolder, objective: Objective, world: World, echo: Echo, find_values: FindValues | None = None
) -> Context:
    """Data, model and everything that was left to choose; nothing is written but the cache."""
    config, cache_dir = folder.config, cache_folder(folder.config.cache_dir)
    check_models(config)
    template = load_template(config, objective)
    data = prepared_by_main(
        world, lambda say: prepare_data(config, objective, template, cache_dir, say, find_values), echo
    )
    check_weights(data, objective, echo)
    if folder.status == "unfinished":
        refuse_changed_data(folder.path, data)
    loaded = load_trained_model(config, objective, world.device)
    if folder.status == "unfinished":
        refuse_changed_models(folder.path, config, loaded)
    refuse_too_long(data, loaded)
    echo(f"model: {loaded.path}, {num_parameters(loaded.model):,} parameters; {loaded.note}")
    config = freeze(config, objective, data, loaded, world)
    context = Context(folder.path, config, objective, world, echo, cache_dir, template, data, loaded)
    num_steps = context.sampler.num_steps
    if folder.status == "new" and config.steps is None and num_steps < FEW_STEPS:
        echo(few_steps_sentence(config, num_steps))
    # What sampler or optimizer refuse, they refuse before anything is written.
    for name in sorted(trainees_of(objective)):
        make_trainee(name, loaded.model, config, num_steps)
    return context


def few_steps_sentence(config: TrainConfig, num: int) -> str:
    """That the data end before much is learned, which a loss at the last step does not show."""
    return (
        f"note: the data make {num} step{'s' * (num > 1)} of {config.batch_size} {config.batch_unit}, in which "
        "a model hardly changes; more epochs=, a smaller batch_size= or a larger lr= make it learn more"
    )


def run(context: Context, *, new: bool, validate: Validate | None = None, watch: Watch | None = None) -> None:
    """Train to the end, into the run folder."""
    world = context.world
    reset_peak_memory(world.device)
    module = wrap(context.loaded.model, world)
    try:
        columns, reference = token_columns(context, module), live_reference(context, module)
        if new and world.is_main:
            models = model_digests(context.config, context.loaded)
            went_in = {**context.data.to_json(), "models": models}
            begin_run(context.path, context.config, environment(torch.get_num_threads()), went_in)
        world.barrier()
        with make_loop(context, module, columns, validate, reference, watch) as loop:
            loop()
        with interruption():  # all that is left is a moment's work, and without it the run is not finished
            save_final(loop)
    except (RuntimeError, MemoryError) as error:
        if (sentence := explained(context, error)) is None:
            raise
        raise sentence from error
    if loop.trainer.best_step is not None:
        context.echo(best_sentence(context, loop.trainer.best_step, loop.trainer.best))
    context.echo(f"wrote {context.path / FINAL}")


def best_sentence(context: Context, step: int, value: float | None) -> str:
    """Which checkpoint keep_best kept, and whether training improved on the model it started from."""
    _, _, metric = (context.config.keep_best or "").partition(":")
    checkpoint = context.path / "checkpoints" / f"step-{step}"
    if step == 0:
        return f"no step was better than the model it started from, whose {metric} is {value:.4f}: {checkpoint}"
    return f"best {metric}: {value:.4f} after step {step}, kept as {checkpoint}"


def explained(context: Context, error: BaseException) -> RunError | None:
    """What an error means that torch raised in its own words: memory that ran out, a process that was lost."""
    if isinstance(error, RunError):
        return None
    where = last_checkpoint_sentence(context.path)
    lengths = pack_lengths(context.data.train)[0]
    pack = min(context.tokens_per_pack, int(lengths.sum()))
    if (short := budget.out_of_memory(error, pack, int(lengths.max()))) is not None:
        return RunError(f"{short}  {where}")
    return lost_process(context.world, error, where)


def describe(context: Context) -> None:
    """What a dry run says: what would run, on what, and the memory expected."""
    config, data, objective = context.config, context.data.train, context.objective
    memory = state_bytes(config, objective, context.loaded.model)
    memory += context.tokens_per_pack * budget.bytes_per_token(context.loaded.config, config.gradient_checkpointing)
    around = {modifier.setting: value for modifier, value in objective.modifiers}
    settings = ", ".join(f"{k}={v}" for k, v in {**objective.own_settings, **around}.items())
    tokens = int(data.example_lengths.sum())
    for line in (
        f"would train {objective.name}({settings})",
        f"for {context.sampler.num_steps:,} steps of {config.batch_size} {config.batch_unit}",
        f"on {data.num_examples:,} examples, {tokens:,} tokens an epoch",
        f"in packs of at most {context.tokens_per_pack:,} tokens, {config.dtype}, about {memory / 2**30:.1f} GiB",
        f"in about {duration(seconds_of(context))}, as far as one pack tells",
        f"with {context.world.size} process(es) on {context.world.device}, {config.threads} threads each",
        f"into {context.path}; nothing was written there",
    ):
        context.echo(line)
