"""Putting a loop together, at the start or where the last checkpoint left off; and what is saved at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from heedful.maths import expected_loss
from heedful.models.saving import save
from heedful.models.wrapper import PackedModel
from heedful.objectives.trial import trainees_of
from heedful.progress import Progress
from heedful.rollouts.watch import Watch
from heedful.tokens.templates import Template
from heedful.training.batches import DataSource
from heedful.training.checkpoints import (
    REFERENCE_FILE,
    TrainerState,
    flush_tree,
    last_checkpoint_sentence,
    latest_checkpoint,
    load_trainer,
    remove_partial,
)
from heedful.training.context import Context, load_trained_model, num_parameters
from heedful.training.engine import is_adapted, load_whole_state, unwrap, whole_state
from heedful.training.live_reference import LiveReference
from heedful.training.loop import BAD_STEPS_FILE, Loop
from heedful.training.metrics import MetricsFile
from heedful.training.run_folder import FINAL
from heedful.training.samples import SampleTable, TrainedPrompts, Validate
from heedful.training.shaping import learns_from_documents, span_controls
from heedful.training.step import StepRunner
from heedful.training.trackers import make_tracker
from heedful.training.trainee import Trainee, make_trainee
from heedful.training.watching import Watching
from heedful.training.world import World
from heedful.types import RunError


@dataclass(frozen=True)
class ModelSaver:
    """Collects a model's whole state, for which every rank is needed, and gives back how the main one writes it."""

    module: nn.Module
    template: Template
    world: World

    def __call__(self) -> Callable[[Path], None]:
        model = unwrap(self.module)
        state = whole_state(model) if self.world.engine == "fsdp2" else None

        def write(path: Path) -> None:
            # Whoever samples from the folder must render prompts as they were rendered here.
            self.template.tokenizer.chat_template = self.template.chat_template
            save(model, self.template.tokenizer, path, state=state)

        return write


def make_loop(
    context: Context,
    module: nn.Module,
    columns: list[dict[str, np.ndarray]],
    validate: Validate | None = None,
    reference: LiveReference | None = None,
    watch: Watch | None = None,
) -> Loop:
    """The loop of a run, restored from its last checkpoint if it has one.

    columns: what was computed for the tokens of the training and evaluation sets.
    validate, watch: see `train`.  reference: as it is before the first step, where it runs beside the policy.
    """
    config, world, run, sampler = context.config, context.world, context.path, context.sampler
    names = sorted(trainees_of(context.objective))
    trainees = {name: make_trainee(name, module, config, sampler.num_steps) for name in names}
    if world.is_main:
        remove_partial(run)
    checkpoint = latest_checkpoint(run)
    trainer, running = TrainerState(), {}
    if checkpoint is not None:
        trainer, running = restore(checkpoint, context, module, trainees)
        if reference is not None and reference.every is not None:
            reference.load_state(load_file(checkpoint / REFERENCE_FILE))
        context.echo(f"continuing after step {trainer.step}, from {checkpoint}")
    world.barrier()
    metrics = tracker = samples = watching = None
    if world.is_main:
        done = trainer.step if checkpoint else None
        metrics = MetricsFile(run / "metrics.jsonl", done)
        if (bad_steps := run / BAD_STEPS_FILE).exists():
            MetricsFile(bad_steps, trainer.step).close()
        samples = make_samples(context, unwrap(module), done)
        watching = make_watching(context, unwrap(module), watch, done)
        tracker = make_tracker(config, run, trainer.step)
    mismatched = bool(context.objective.statistics)
    sources = [DataSource(s, c, mismatched, world.device) for s, c in zip(context.data.stores, columns, strict=True)]
    return Loop(
        config=config,
        world=world,
        run=run,
        runner=StepRunner(context.objective, module, world, reference=reference),
        trainees=trainees,
        reference=reference,
        source=sources[0],
        sampler=sampler,
        evaluation=sources[1] if len(sources) > 1 else None,
        tokens_per_pack=context.tokens_per_pack,
        trainer=trainer,
        running=running,
        metrics=metrics,
        tracker=tracker,
        samples=samples,
        validate=None if validate is None else partial(validate, unwrap(module), context.template),
        watching=watching,
        expected_loss=(
            partial(expected_loss, num_parameters(unwrap(module))) if learns_from_documents(context.objective) else None
        ),
        collect_model=ModelSaver(module, context.template, world),
        progress=Progress(sampler.num_steps, trainer.step, context.echo),
    )


def make_samples(context: Context, model: nn.Module, resume_step: int | None) -> SampleTable | None:
    """What samples answers at every evaluation, if the settings ask for it."""
    num, store = context.config.eval_samples, context.data.evaluation
    if not num or store is None:
        return None
    prompts = TrainedPrompts(context.template, store, num)
    return SampleTable(prompts, model, context.config.seed, context.path, resume_step)


def make_watching(
    context: Context, model: PackedModel, watch: Watch | None, resume_step: int | None
) -> Watching | None:
    """What looks at the model between steps, if the settings ask for it."""
    config = context.config
    if config.watch is None or watch is None:
        return None
    return Watching(
        watch,
        model,
        context.template,
        context.data.train,
        span_controls(context.objective, config.seed),
        context.path,
        every=config.watch.every,
        num_segments=config.watch.segments,
        resume_step=resume_step,
    )


def restore(
    checkpoint: Path, context: Context, module: nn.Module, trainees: dict[str, Trainee]
) -> tuple[TrainerState, dict[str, torch.Tensor]]:
    """Weights, optimizers and counters of a checkpoint into the run."""
    config = context.config
    if is_adapted(unwrap(module)):
        saved = load_trained_model(config, context.objective, "cpu", lora=None, adapter=str(checkpoint))
    else:
        saved = load_trained_model(config, context.objective, "cpu", name=str(checkpoint))
    load_whole_state(unwrap(module), saved.model.state_dict())
    trainer, optimizers, running = load_trainer(checkpoint)
    for name, trainee in trainees.items():
        trainee.load_optimizer_state(optimizers[name], trainer.optimizers[name])
    return trainer, {name: value.to(context.world.device) for name, value in running.items()}


def save_final(loop: Loop) -> None:
    """`final/`, written aside and renamed: its presence means that the run is finished.

    Raises RunError, with the last checkpoint's name, if the disk is full or cannot be written.
    """
    write = loop.collect_model()
    problem = None
    if loop.world.is_main:
        aside, final = loop.run / f".{FINAL}.partial", loop.run / FINAL
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            write(aside)
            flush_tree(aside)
            os.replace(aside, final)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            problem = f"{final} could not be written ({error}).  {last_checkpoint_sentence(loop.run)}"
    if problem := loop.world.broadcast(problem):
        raise RunError(problem)
