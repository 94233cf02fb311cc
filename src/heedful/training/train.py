"""One training run, from its settings to its run folder.  Reads top to bottom."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from heedful.config import TrainConfig, settings_model
from heedful.models import Loaded, PackedModel, load_policy, load_tokenizer, resolve, save
from heedful.objectives import bind, get
from heedful.objectives.reduce import Objective, needs
from heedful.tokens import Template
from heedful.tokens.sampler import Sampler
from heedful.training import budget
from heedful.training.batches import DataSource
from heedful.training.checkpoints import (
    TrainerState,
    flush_tree,
    latest_checkpoint,
    load_trainer,
    remove_partial,
)
from heedful.training.data import PreparedData, prepare_data
from heedful.training.engine import load_whole_state, unwrap, whole_state, wrap
from heedful.training.environment import environment
from heedful.training.loop import Loop
from heedful.training.metrics import MetricsFile
from heedful.training.progress import Progress
from heedful.training.reference import reference_logps
from heedful.training.run_folder import FINAL, RunFolder, begin_run, inspect_run
from heedful.training.step import StepRunner
from heedful.training.trackers import make_tracker
from heedful.training.trainee import Trainee, make_trainee, optimizer_arguments
from heedful.training.world import World, start
from heedful.types import RunError, UserError

Echo = Callable[[str], None]


def train(config: TrainConfig, *, dry_run: bool = False, echo: Echo = print) -> Path:
    """Train as the settings say and return the run folder; continue the run that is there, if it is unfinished.

    echo: where progress lines go (the main process's only).

    Raises UserError for a mistake in settings, data or model, before training starts; RunError if the run fails;
    Interrupted after SIGTERM or SIGINT, once everything is saved.
    """
    objective = resolve_objective(config)
    optimizer_arguments(config)
    folder = inspect_run(config)
    config = folder.config
    world = start(config.engine, config.device, None if config.world_size == "auto" else config.world_size)
    if config.threads != "auto":
        torch.set_num_threads(config.threads)
    echo = echo if world.is_main else lambda line: None
    try:
        if folder.status == "finished":
            echo(f"{folder.path}: this run is finished already; overwrite=true starts it anew")
            return folder.path
        return _run(folder, config, objective, world, dry_run=dry_run, echo=echo)
    finally:
        world.close()


def resolve_objective(config: TrainConfig) -> Objective:
    """The objective with its settings checked against its signature and its defaults filled in."""
    function = get(config.objective.name)
    settings = settings_model(function).model_validate(config.objective.settings)
    return bind(config.objective.name, settings.model_dump())


def _run(
    folder: RunFolder, config: TrainConfig, objective: Objective, world: World, *, dry_run: bool, echo: Echo
) -> Path:
    cache_dir = cache_folder(config)
    template = Template.load(
        load_tokenizer(resolve(config.model), trust_remote_code=config.trust_remote_code), config.template
    )
    data = _prepared_by_main(world, lambda say: prepare_data(config, objective, template, cache_dir, say), echo)
    if folder.status == "unfinished":
        _refuse_changed_data(folder.path, data)
    loaded = _load_model(config, objective, world)
    echo(f"model: {loaded.path}, {num_parameters(loaded.model):,} parameters, {loaded.note}")
    config = _freeze(config, data, loaded, world)
    sampler = make_sampler(config, data)
    if dry_run:
        _describe(config, objective, data, loaded, sampler, world, echo)
        return folder.path
    if folder.status == "new" and world.is_main:
        begin_run(folder.path, config, environment(torch.get_num_threads()), data.to_json())
    world.barrier()
    module = wrap(loaded.model, world)
    columns = _reference_columns(config, objective, data, module, loaded, cache_dir, world, echo)
    loop = _make_loop(folder.path, config, objective, world, module, loaded, template, data, columns, sampler, echo)
    try:
        loop()
    except (RuntimeError, MemoryError) as error:
        longest = int(max(loop.source.lengths.max(), 1))
        failure = budget.out_of_memory(error, min(loop.tokens_per_pack, int(loop.source.lengths.sum())), longest)
        raise failure or error from error
    finally:
        _close(loop)
    _save_final(folder.path, loop, world)
    echo(f"wrote {folder.path / FINAL}")
    return folder.path


def cache_folder(config: TrainConfig) -> Path:
    """Where tokenised data and reference log-probabilities are kept."""
    if config.cache_dir is not None:
        return Path(config.cache_dir)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "heedful"


def num_parameters(module: nn.Module) -> int:
    """All parameters, trained or not."""
    return sum(p.numel() for p in module.parameters())


def _prepared_by_main(world: World, work: Callable[[Echo], PreparedData], echo: Echo) -> PreparedData:
    """The main process prepares, the others then open what it wrote; a mistake found by one ends all."""
    if world.size == 1:
        return work(echo)
    problem: UserError | RunError | None = None
    data: PreparedData | None = None
    if world.is_main:
        try:
            data = work(echo)
        except (UserError, RunError) as error:
            problem = error
    if problem := world.broadcast(problem):
        raise problem
    data = data or work(echo)
    digests = world.gather(data.train.digest)
    if len(set(digests)) > 1:
        raise RunError("The processes read different data: give all of them the same files.")
    return data


def _refuse_changed_data(path: Path, data: PreparedData) -> None:
    """A resumed run must see the data it began with."""
    import json

    before = json.loads((path / "data.json").read_text(encoding="utf-8"))
    now = data.to_json()
    for part in ("train", "eval"):
        if before.get(part, {}).get("digest") != now.get(part, {}).get("digest"):
            raise UserError(
                f"{path}: the {'training' if part == 'train' else 'evaluation'} data (or the tokenizer) changed since "
                "this run began; put the old file back, choose another out=, or start anew with overwrite=true."
            )


def _load_model(config: TrainConfig, objective: Objective, world: World) -> Loaded:
    loaded = load_policy(
        config.model,
        kind="score" if "scores" in needs(objective) else "lm",
        dtype=config.dtype,
        device=world.device,
        lora=config.lora.model_dump() if config.lora else None,
        adapter=config.adapter,
        trust_remote_code=config.trust_remote_code,
        gradient_checkpointing=config.gradient_checkpointing,
        seed=config.seed,
    )
    return loaded


def _freeze(config: TrainConfig, data: PreparedData, loaded: Loaded, world: World) -> TrainConfig:
    """Replace every `auto` by the value this run keeps."""
    longest = max(int(s.example_lengths.max()) for s in (data.train, data.evaluation) if s is not None)
    tokens_per_pack: Any = config.tokens_per_pack
    if tokens_per_pack == "auto":
        tokens_per_pack = budget.choose_tokens_per_pack(
            longest,
            num_parameters(loaded.model),
            loaded.config,
            world.device,
            world.size,
            checkpointing=config.gradient_checkpointing,
        )
    if tokens_per_pack < longest:
        raise UserError(
            f"tokens_per_pack={tokens_per_pack} is less than the longest example takes ({longest} tokens, prompt and "
            f"all its responses): set tokens_per_pack={longest} or more, or a smaller max_length."
        )
    return config.model_copy(
        update={
            "tokens_per_pack": world.broadcast(tokens_per_pack),
            "threads": torch.get_num_threads(),
            "world_size": world.size,
            "device": world.device.type,
            "engine": world.engine,
        }
    )


def make_sampler(config: TrainConfig, data: PreparedData) -> Sampler:
    """Batches of the training set."""
    length: Mapping[str, Any] = {"epochs": config.epochs} if config.steps is None else {"steps": config.steps}
    return Sampler(data.train, batch_size=config.batch_size, unit=config.batch_unit, seed=config.seed, **length)


def _reference_columns(
    config: TrainConfig,
    objective: Objective,
    data: PreparedData,
    module: nn.Module,
    loaded: Loaded,
    cache_dir: Path,
    world: World,
    echo: Echo,
) -> list[dict[str, np.ndarray]]:
    """Reference log-probabilities of the training and evaluation sets, if the objective reads them."""
    stores = [store for store in (data.train, data.evaluation) if store is not None]
    if "ref_logps" not in needs(objective):
        return [{} for _ in stores]
    if config.reference is None:
        model = unwrap(module)
        digest, forward = loaded.digest, module
        context = model.reference() if hasattr(model.inner, "peft_config") else contextlib.nullcontext()
    else:
        other = load_policy(
            config.reference,
            kind="lm",
            dtype=config.dtype,
            device=world.device,
            trust_remote_code=config.trust_remote_code,
        )
        digest, forward, context = other.digest, wrap(other.model, world), contextlib.nullcontext()
    name = f"{digest}-{config.dtype}-{world.device.type}"
    with context:
        return [{"ref_logps": reference_logps(s, forward, name, cache_dir, world, echo)} for s in stores]


@dataclass
class _Saver:
    """Writes the model's folder; every rank takes part, the main one writes."""

    module: nn.Module
    template: Template
    world: World

    def __call__(self, path: Path) -> None:
        state = whole_state(unwrap(self.module)) if self.world.engine == "fsdp2" else None
        if self.world.is_main:
            save(unwrap(self.module), self.template.tokenizer, path, state=state)


def _make_loop(
    run: Path,
    config: TrainConfig,
    objective: Objective,
    world: World,
    module: nn.Module,
    loaded: Loaded,
    template: Template,
    data: PreparedData,
    columns: list[dict[str, np.ndarray]],
    sampler: Sampler,
    echo: Echo,
) -> Loop:
    """Put the parts together, at the start or where the last checkpoint left off."""
    assert isinstance(config.tokens_per_pack, int)
    trainees = {"policy": make_trainee("policy", module, config, sampler.num_steps)}
    if world.is_main:
        remove_partial(run)
    checkpoint = latest_checkpoint(run)
    trainer, running = TrainerState(), {}
    if checkpoint is not None:
        trainer, running = _restore(checkpoint, config, objective, module, trainees, world)
        echo(f"continuing after step {trainer.step}, from {checkpoint}")
    world.barrier()
    metrics = tracker = None
    if world.is_main:
        metrics = MetricsFile(run / "metrics.jsonl", trainer.step if checkpoint else None)
        tracker = make_tracker(config, config.model_dump(mode="json"), run)
    mismatched = bool(objective.statistics)
    stores = [store for store in (data.train, data.evaluation) if store is not None]
    sources = [DataSource(s, c, mismatched, world.device) for s, c in zip(stores, columns, strict=True)]
    return Loop(
        config=config,
        world=world,
        run=run,
        runner=StepRunner(objective, module, world),
        trainees=trainees,
        source=sources[0],
        sampler=sampler,
        evaluation=sources[1] if len(sources) > 1 else None,
        tokens_per_pack=config.tokens_per_pack,
        trainer=trainer,
        running=running,
        metrics=metrics,
        tracker=tracker,
        save_model=_Saver(module, template, world),
        progress=Progress(sampler.num_steps, trainer.step, echo),
    )


def _restore(
    checkpoint: Path,
    config: TrainConfig,
    objective: Objective,
    module: nn.Module,
    trainees: dict[str, Trainee],
    world: World,
) -> tuple[TrainerState, dict[str, torch.Tensor]]:
    """Weights, optimizers and counters of a checkpoint into the run."""
    adapted = config.lora is not None or config.adapter is not None
    saved = load_policy(
        config.model if adapted else str(checkpoint),
        kind="score" if "scores" in needs(objective) else "lm",
        dtype=config.dtype,
        device="cpu",
        adapter=str(checkpoint) if adapted else None,
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
    )
    load_whole_state(unwrap(module), saved.model.state_dict())
    trainer, optimizers, running = load_trainer(checkpoint)
    for name, trainee in trainees.items():
        trainee.load_optimizer_state(optimizers[name], trainer.optimizers[name])
    return trainer, {k: v.to(world.device) for k, v in running.items()}


def _close(loop: Loop) -> None:
    if loop.metrics is not None:
        loop.metrics.close()
    if loop.tracker is not None:
        loop.tracker.close()


def _save_final(run: Path, loop: Loop, world: World) -> None:
    """`final/`, written aside and renamed: its presence means the run is finished."""
    aside, final = run / f".{FINAL}.partial", run / FINAL
    if world.is_main:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
    loop.save_model(aside)
    if world.is_main:
        flush_tree(aside)
        os.replace(aside, final)
    world.barrier()


def _describe(
    config: TrainConfig,
    objective: Objective,
    data: PreparedData,
    loaded: Loaded,
    sampler: Sampler,
    world: World,
    echo: Echo,
) -> None:
    """What a dry run says: what would run, on what, and the memory expected."""
    assert isinstance(config.tokens_per_pack, int)
    trained = sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    memory = 4 * num_parameters(loaded.model) + 12 * trained
    memory += config.tokens_per_pack * budget.bytes_per_token(loaded.config, config.gradient_checkpointing)
    echo(f"would train {objective.name} {dict(objective.settings)} for {sampler.num_steps:,} steps")
    echo(f"of {config.batch_size} {config.batch_unit} each")
    echo(f"on {data.train.num_examples:,} examples, {int(data.train.example_lengths.sum()):,} tokens an epoch")
    echo(f"with {world.size} process(es) on {world.device}, engine {world.engine}, {config.threads} threads each")
    echo(f"in packs of at most {config.tokens_per_pack:,} tokens, about {memory / 2**30:.1f} GiB a process")
    echo(f"into {config.out}; nothing was written there")


__all__ = ["PackedModel", "cache_folder", "make_sampler", "resolve_objective", "train"]
