"""What a run is made of before its first step, and the functions that find it out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from heedful.config import TrainConfig
from heedful.models.folders import digest_of, resolve, weight_files
from heedful.models.loading import Loaded, load_policy
from heedful.models.tokenizers import load_tokenizer
from heedful.models.wrapper import PackedModel
from heedful.objectives.reduce import VALUE_HEAD, Objective
from heedful.objectives.trial import needs, trainees_of, unweightable
from heedful.objectives.views import Pairs
from heedful.tokens.packs import pack_lengths
from heedful.tokens.sampler import Sampler
from heedful.tokens.templates import Template
from heedful.training import budget
from heedful.training.advantages import make_sampler
from heedful.training.data import PreparedData
from heedful.training.engine import is_adapted, unwrap, wrap
from heedful.training.reference import reference_logps
from heedful.training.run_folder import DATA_FILE
from heedful.training.shaping import added_tokens, control_tokens, learns_from_documents
from heedful.training.world import World
from heedful.types import Echo, RunError, UserError


@dataclass(frozen=True)
class Context:
    """A run's settings with nothing left to choose, and what they led to.

    path: the run folder.  cache_dir: tokenised data and reference log-probabilities.  echo: the main process's lines.
    """

    path: Path
    config: TrainConfig
    objective: Objective
    world: World
    echo: Echo
    cache_dir: Path
    template: Template
    data: PreparedData
    loaded: Loaded

    @property
    def tokens_per_pack(self) -> int:
        """The frozen budget of a forward."""
        assert isinstance(self.config.tokens_per_pack, int)
        return self.config.tokens_per_pack

    @property
    def sampler(self) -> Sampler:
        """Batches of the training set."""
        return make_sampler(self.config, self.objective, self.data.train)


def cache_folder(cache_dir: str | None) -> Path:
    """Where tokenised data and reference log-probabilities are kept; made if it is not there.

    cache_dir: the setting; None is `heedful` in the user's cache folder.
    Raises UserError if it cannot be written to.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = home / "heedful" if cache_dir is None else Path(cache_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise UserError(
            f"the cache folder {folder} cannot be written to ({problem.strerror}); give cache_dir=FOLDER that can"
        ) from None
    return folder


def num_parameters(module: nn.Module, *, trained: bool = False) -> int:
    """How many numbers a module holds, or trains."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def check_models(config: TrainConfig) -> None:
    """Find mistakes about models before the data is prepared, which may take long.

    Raises UserError for weights that are missing, and for a reference that reads other tokens than the policy.
    """
    code = config.trust_remote_code
    folder = resolve(config.model, trust_remote_code=code)
    weight_files(folder)
    if config.adapter is not None:
        weight_files(resolve(config.adapter, setting="adapter"))
    if config.reference is None:
        return
    other = resolve(config.reference, trust_remote_code=code, setting="reference")
    weight_files(other)
    own, others = (load_tokenizer(name, trust_remote_code=code).get_vocab() for name in (folder, other))
    if own != others:
        raise UserError(
            f"reference={config.reference} has another vocabulary than model={config.model}, so their probabilities "
            "cannot be compared; name a reference with the same tokenizer"
        )


def prepared_by_main(world: World, work: Callable[[Echo], PreparedData], echo: Echo) -> PreparedData:
    """The main process prepares, the others then open what it wrote; a mistake that it finds ends all.

    Raises RunError if the processes come to different data.
    """
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
    if len(set(world.gather(data.train.digest))) > 1:
        raise RunError("The processes read different data: give all of them the same files.")
    return data


def refuse_changed_data(path: Path, data: PreparedData) -> None:
    """Raise UserError unless a resumed run sees the data it began with."""
    before, now = json.loads((path / DATA_FILE).read_text(encoding="utf-8")), data.to_json()
    for part, name in (("train", "training"), ("eval", "evaluation")):
        if before.get(part, {}).get("digest") != now.get(part, {}).get("digest"):
            raise UserError(
                f"{path}: the {name} data (or the tokenizer) changed since this run began; "
                "put the old file back, choose another out=, or start anew with overwrite=true."
            )


def model_digests(config: TrainConfig, loaded: Loaded) -> dict[str, str]:
    """Who the models are that a run starts from, for data.json: the policy and, if it has one of its own, the
    reference."""
    digests = {"model": loaded.digest}
    if config.reference is not None:
        digests["reference"] = digest_of(resolve(config.reference, trust_remote_code=config.trust_remote_code))
    return digests


def refuse_changed_models(path: Path, config: TrainConfig, loaded: Loaded) -> None:
    """Raise UserError unless a resumed run starts from the models it began with: its checkpoints may hold adapters
    alone, and its reference is computed from them."""
    before = json.loads((path / DATA_FILE).read_text(encoding="utf-8"))["models"]
    for setting, digest in model_digests(config, loaded).items():
        if before[setting] != digest:
            raise UserError(
                f"{path}: {setting}={getattr(config, setting)} holds another model than when this run began; "
                "put the old one back, choose another out=, or start anew with overwrite=true."
            )


def load_trained_model(config: TrainConfig, objective: Objective, device: torch.device | str, **changed: Any) -> Loaded:
    """The model that the settings train, with the head the objective reads.

    changed: arguments of `load_policy` other than the settings'.
    """
    settings: dict[str, Any] = {
        "name": config.model,
        "kind": "score" if "scores" in needs(objective) else "lm",
        "dtype": config.dtype,
        "device": device,
        "lora": config.lora.model_dump() if config.lora else None,
        "adapter": config.adapter,
        "trust_remote_code": config.trust_remote_code,
        "gradient_checkpointing": config.gradient_checkpointing,
        "seed": config.seed,
        "value_head": VALUE_HEAD in trainees_of(objective),
        "reward_head": "foretold" in needs(objective),
        "added_tokens": added_tokens(objective),
        "new_rows": "spelled" if control_tokens(objective) else "mean",
    }
    return load_policy(**(settings | changed))


def refuse_too_long(data: PreparedData, loaded: Loaded) -> None:
    """Raise UserError if a sequence is longer than the model has positions for."""
    if loaded.max_length is None:
        return
    for store in data.stores:
        longest = int(
            (store.response_lengths + np.repeat(store.prompt_lengths, np.diff(store.example_responses))).max()
        )
        if longest > loaded.max_length:
            raise UserError(
                f"{loaded.path} has positions for {loaded.max_length} tokens, but the longest prompt with a response "
                f"has {longest}: set max_length={loaded.max_length}."
            )


def check_weights(data: PreparedData, objective: Objective, echo: Echo) -> None:
    """Say what weights of the data will do.

    Raises UserError for weights below 0, not finite or all 0, and for an objective on which they cannot act.
    """
    for store in data.stores:
        column, own = store.columns["weight"], ~store.is_mismatched
        given = ~np.isnan(column) & own
        if (wrong := np.flatnonzero(given & ~((column >= 0) & np.isfinite(column)))).size:
            origin = store.origin(store.example_of(int(wrong[0])))
            raise UserError(f"a weight of {column[wrong[0]]} ({origin}) is no weight: give 0 or more, or none.")
        if not (column[own] != 0).any():
            raise UserError("every weight of the data is 0, so that nothing would be learnt; give some row more.")
        if given.any() and (reason := unweightable(objective)) is not None:
            raise UserError(
                f"the data has weights, which cannot act on {objective.name}: {reason}; drop them, or choose another."
            )
        if objective.view is Pairs and given.any():
            weight = np.nan_to_num(column, nan=1.0)
            spread = [np.ptp(weight[[r for r in store.responses_of(e) if own[r]]]) > 0 for e in range(len(store))]
            if differing := int(np.sum(spread)):
                echo(f"weights: the two of a pair differ in {differing:,} of {len(store):,}; the chosen's counts")


def state_bytes(config: TrainConfig, objective: Objective, model: PackedModel) -> int:
    """Memory of all weights and of what the optimizer adds: a reference that runs beside the policy is a model more."""
    beside = has_live_reference(config, objective) and (config.reference is not None or not is_adapted(model))
    return budget.state_bytes(num_parameters(model) * (1 + beside), num_parameters(model, trained=True))


def freeze(config: TrainConfig, objective: Objective, data: PreparedData, loaded: Loaded, world: World) -> TrainConfig:
    """Replace every `auto` by the value this run keeps.

    Raises UserError if the longest example does not fit into a pack.
    """
    longest = max(int(lengths.max()) for store in data.stores for lengths in pack_lengths(store))
    tokens_per_pack: Any = config.tokens_per_pack
    if tokens_per_pack == "auto":
        state = state_bytes(config, objective, loaded.model)
        checkpointing = config.gradient_checkpointing
        tokens_per_pack = budget.choose_tokens_per_pack(
            longest, state, loaded.config, world.device, world.size, checkpointing=checkpointing
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


def has_live_reference(config: TrainConfig, objective: Objective) -> bool:
    """Whether the reference runs beside the policy in every forward, instead of once before training."""
    return config.sync_reference_every is not None or "kl" in needs(objective)


def load_reference(context: Context, name: str) -> Loaded:
    """A model that the policy is held to, with the arithmetic and the control tokens of the policy."""
    return load_policy(
        name,
        dtype=context.config.dtype,
        device=context.world.device,
        trust_remote_code=context.config.trust_remote_code,
        added_tokens=control_tokens(context.objective),
    )


def token_columns(context: Context, module: nn.Module) -> list[dict[str, np.ndarray]]:
    """What is known of every trained token of the training and evaluation sets before the first step."""
    columns = reference_columns(context, module)
    if learns_from_documents(context.objective):
        columns = [
            {**known, "token_scores": store.token_scores}
            for known, store in zip(columns, context.data.stores, strict=True)
        ]
    return columns


def reference_columns(context: Context, module: nn.Module) -> list[dict[str, np.ndarray]]:
    """Reference log-probabilities of the training and evaluation sets, if the objective reads them from a cache.

    module: the policy as wrapped, still at its first weights: those are the reference unless `reference=` names one.
    """
    config, world = context.config, context.world
    if "ref_logps" not in needs(context.objective) or has_live_reference(config, context.objective):
        return [{} for _ in context.data.stores]
    digest, during = context.loaded.digest, contextlib.nullcontext()
    if config.reference is not None:
        other = load_reference(context, config.reference)
        digest, module = other.digest, wrap(other.model, world)
    elif is_adapted(unwrap(module)):
        during = unwrap(module).reference()
    name = f"{digest}-{config.dtype}-{world.device.type}"
    if controls := control_tokens(context.objective):  # their rows are made from their names, which no digest holds
        name += f"-{hashlib.blake2b(json.dumps(controls).encode(), digest_size=8).hexdigest()}"
    with during:
        return [
            {"ref_logps": reference_logps(store, module, name, context.cache_dir, world, context.echo)}
            for store in context.data.stores
        ]
