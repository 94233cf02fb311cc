"""Every setting of a training run: its type, its default and, in one line, what it does.

These lines are what `heed train --help` prints.  An objective's own settings are not here: they are the keyword-only
parameters of its function and live under `objective.`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import BeforeValidator, Field, field_validator, model_validator

from heedful.config.watch import WatchConfig
from heedful.config.within import (
    DEFAULT_FIT,
    Count,
    LoraConfig,
    ObjectiveConfig,
    Positive,
    RewardConfig,
    Schema,
    Seed,
    ValueFitConfig,
)

Auto = Literal["auto"]
Share = Annotated[float, Gt(0), Lt(1)]


def _words(entry: Any) -> Any:
    return {key: str(value) for key, value in entry.items()} if isinstance(entry, dict) else entry


Source = Annotated[dict[str, str], BeforeValidator(_words)]
"""An item of a mixture spelled out: {name, proportion, path}."""
Data = str | Source | list[str | Source]


class TrainConfig(Schema):
    """The settings of `heed train`."""

    # what is trained, on what
    objective: ObjectiveConfig = Field(
        description="what is minimised: a name or path/to/file.py:function; its settings under `objective.`"
    )
    model: str = Field(
        min_length=1, description="the model to start from: hub name (name@revision), folder, run folder or checkpoint"
    )
    data: Data = Field(
        description="feedback: file, folder, hub name, or a mixture NAME[:PROPORTION[:PATH]], or a list of them"
    )
    out: str = Field("", description="run folder to write; default runs/OBJECTIVE-MODEL")
    eval_data: Data | None = Field(None, description="data to evaluate on, written like `data`")
    eval_fraction: Share | None = Field(
        None, description="share of the prompts of `data` held out to evaluate on; instead of `eval_data`"
    )
    reader: str | None = Field(
        None, description="name of the reader of `data`; null: found from what the rows look like"
    )
    readers: list[str] = Field([], description="readers of your own to register first, as path/to/file.py:function")
    view: str | None = Field(
        None,
        description="path/to/file.py:function from Examples to those to train on, in its order, which every epoch "
        "keeps; null: all, in an order drawn anew every epoch",
    )
    seed: Seed = Field(0, description="seed of everything random: order, splits, new weights, dropout")

    # how the data becomes batches
    batch_size: Count = Field(
        32, description="how much one optimizer step takes, in `batch_unit`; larger is steadier and makes fewer steps"
    )
    batch_unit: Literal["prompts", "responses", "tokens", "sequences"] = Field(
        "prompts", description="what `batch_size` counts; sequences are the pieces that documents are cut into"
    )
    epochs: Positive = Field(1.0, description="times through the data; more fits it closer")
    steps: Count | None = Field(None, description="stop after this many optimizer steps, whatever `epochs` says")
    tokens_per_pack: Count | Auto = Field(
        "auto", description="tokens in one forward; smaller takes less memory; results are the same to rounding"
    )
    max_length: Annotated[int, Ge(2)] = Field(
        1024, description="most tokens of a prompt with one response; longer ones are cut, and reported"
    )
    max_prompt_length: Count | None = Field(
        None, description="most tokens of a prompt, its oldest turns go first; null: what `max_length` leaves"
    )
    allow_crossing: bool = Field(
        False,
        description="documents only: run them together and cut the stream every `max_length` tokens, so that a token "
        "sees the documents before its own, as published; false: it sees its own document alone",
    )
    skip_tokens: Annotated[int, Ge(0)] = Field(
        0,
        description="documents only: tokens of the first pass to leave out, which the model saw in the run that it "
        "comes from; with that run's seed and data, what it did not see comes next",
    )
    template: str | dict[str, str] | None = Field(
        None,
        description="chat template: Jinja file, built-in name, or {human_prefix: …, …}; null: the tokenizer's own",
    )
    train_on: Literal["last", "all_assistant"] = Field(
        "last", description="which assistant turns of a response enter the loss"
    )
    prefer: Literal["human", "reward"] = Field(
        "human", description="what decides the better response of a pair: the human's verdict or the reward column"
    )

    # rewards, values, and what is drawn by them
    rewards: dict[str, RewardConfig] | None = Field(
        None,
        description="where rewards come from: scorers and reward models with their weights, as pep8 or {pep8: 1, "
        "models/rm: {weight: 0.5, normalize: true}}; data is the column of the data; null: that column alone",
    )
    value: str | None = Field(
        None,
        description="value of a prompt under the reference, which a_lol takes off the reward: reference samples and "
        "scores its answers, data learns from the rewards of the data, else a file of heed value; null: a column",
    )
    value_fit: ValueFitConfig = Field(
        DEFAULT_FIT, description="how value=reference and value=data are estimated: {prompts, samples, …}"
    )
    sampling: Literal["uniform", "good_priority", "good_random", "all_priority"] = Field(
        "uniform",
        description="uniform: each example once an epoch; good_priority draws the better responses, all_priority all, "
        "with replacement and in proportion to what is above 0 of `sampling_by`; good_random evenly among those. An "
        "epoch is as many draws as responses can be drawn; `steps` is taken as it is",
    )
    sampling_by: Literal["advantage", "reward"] | None = Field(
        None,
        description="what the other samplings go by; null: the advantage if the objective reads values, else reward",
    )

    # the optimizer
    lr: Positive = Field(
        5e-6, description="peak learning rate; larger learns faster and less stably; for adapters 10 to 20 times larger"
    )
    optimizer: str = Field("AdamW", min_length=1, description="name of an optimizer in torch.optim")
    optimizer_args: dict[str, Any] = Field(
        {}, description="further arguments of the optimizer, as optimizer_args.momentum=0.9"
    )
    betas: tuple[Share, Share] | None = Field(
        None, description="averaging of Adam's gradients and their squares; larger is slower; null: torch's"
    )
    eps: Positive | None = Field(
        None, description="added to the optimizer's denominator; larger damps small gradients; null: torch's"
    )
    weight_decay: Annotated[float, Ge(0)] = Field(
        0.0, description="pull of the weights to zero; larger regularises more"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate falls after warm-up: to zero, or not at all"
    )
    warmup: Annotated[float, Ge(0)] = Field(
        0.1, description="rise of the learning rate: a share of the steps if below 1, else a number of steps"
    )
    max_grad_norm: Positive | None = Field(
        1.0, description="largest global norm of the gradient; smaller is steadier; null: no clipping"
    )
    value_head_lr: Positive | None = Field(
        None, description="peak learning rate of a value head, for objectives that train one; null: as `lr`"
    )
    value_head_max_grad_norm: Positive | None = Field(
        0.1, description="largest global norm of a value head's gradient; null: no clipping"
    )

    # the machine
    dtype: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of forward and backward; bf16 keeps fp32 master weights"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where to compute; auto: cuda, else mps, else cpu"
    )
    engine: Literal["auto", "single", "ddp", "fsdp2"] = Field(
        "auto", description="several processes: ddp copies the model, fsdp2 shards it"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: less memory, about a third slower"
    )
    threads: Count | Auto = Field(
        "auto", description="CPU threads; frozen at the start of a run, since results depend on it in the last bits"
    )
    world_size: Count | Auto = Field(
        "auto", description="number of processes; frozen at the start; a launch with another number is refused"
    )

    # adapters and the reference
    lora: LoraConfig | None = Field(None, description="train low-rank adapters: {r, alpha, targets}; null: all weights")
    adapter: str | None = Field(None, description="a PEFT adapter folder to continue training, on top of `model`")
    reference: str | None = Field(
        None, description="model that the policy is held to; null: the model the run starts from"
    )
    sync_reference_every: Count | None = Field(
        None,
        description="steps after which the reference becomes the policy of one step before; smaller lets the policy go "
        "further; null: it stays as it is, and what it says is computed once",
    )
    cache_dir: str | None = Field(
        None, description="folder of tokenised data and reference log-probabilities; null: ~/.cache/heedful"
    )
    trust_remote_code: bool = Field(
        False, description="run the Python code that comes with the model; only for repositories you trust"
    )

    # what is kept
    checkpoint_every: Count | None = Field(
        200, description="steps between checkpoints; smaller loses less on a kill; null: only the end"
    )
    keep: Count = Field(2, description="how many of the latest checkpoints stay")
    keep_best: str | None = Field(
        None,
        description="also keep the checkpoint best by a metric: min:eval/loss or max:eval/NAME; with `eval_every` the "
        "model it starts from takes part, as step 0",
    )
    eval_every: Positive | None = Field(
        None, description="steps between evaluations, or a share of an epoch if below 1; null: only at the end"
    )
    eval_samples: Annotated[int, Ge(0)] = Field(
        0, description="how many evaluation prompts are answered at every evaluation, into samples.jsonl"
    )
    watch: WatchConfig | None = Field(
        None, description="samples, segments and distances to look at in between: {every, scorer, scenarios, …}"
    )
    num_bad_steps: Count = Field(
        3, description="stop after this many steps in a row with a loss or gradient that is not finite"
    )
    resume: Literal["auto", "never"] = Field(
        "auto", description="auto: continue an unfinished run in `out`; never: refuse a folder that has one"
    )
    overwrite: bool = Field(False, description="delete the run that is in `out` and start anew")

    # live trackers
    track: Literal["wandb", "trackio", "tensorboard"] | None = Field(
        None, description="live tracker beside metrics.jsonl; null: none"
    )
    track_project: str = Field("heedful", description="the tracker's project")
    track_name: str | None = Field(None, description="the tracker's name of this run; null: the name of the run folder")
    track_group: str | None = Field(None, description="the tracker's group of runs")
    track_tags: list[str] = Field([], description="the tracker's tags")

    @field_validator("data", "eval_data")
    @classmethod
    def _something_named(cls, value: Data | None) -> Data | None:
        if value is not None and (not value or not all(value)):
            raise ValueError("must name a file, folder, hub name or mixture")
        return value

    @field_validator("rewards", mode="before")
    @classmethod
    def _one_source_alone(cls, value: Any) -> Any:
        if value == "" or value == {}:
            raise ValueError("must name a scorer or reward model; leave it out for the reward column of the data")
        return {value: 1.0} if isinstance(value, str) else value

    @field_validator("warmup")
    @classmethod
    def _share_or_count(cls, value: float) -> float:
        if value >= 1 and not value.is_integer():
            raise ValueError("must be a share of the steps below 1, or a whole number of steps")
        return value

    @field_validator("eval_every")
    @classmethod
    def _share_or_steps(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and not value.is_integer():
            raise ValueError("must be a share of an epoch below 1, or a whole number of steps")
        return value

    @field_validator("keep_best")
    @classmethod
    def _direction(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(min|max):\S+", value):
            raise ValueError(f"must say which way is better: min:{value} or max:{value}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _name_the_run(cls, values: Any) -> Any:
        """Fill `out` from the objective and the model, so that config.yaml never depends on a default."""
        if isinstance(values, dict) and not values.get("out"):
            objective, model = values.get("objective"), values.get("model")
            name = objective.get("name") if isinstance(objective, dict) else getattr(objective, "name", objective)
            if isinstance(name, str) and isinstance(model, str):
                return {**values, "out": str(Path("runs") / f"{_tail(name)}-{_tail(model)}")}
        return values

    @model_validator(mode="after")
    def _go_together(self) -> TrainConfig:
        """Refuse combinations in which one setting could not take effect."""
        evaluates = self.eval_data is not None or self.eval_fraction is not None
        if self.eval_data is not None and self.eval_fraction is not None:
            raise ValueError("eval_data and eval_fraction both name the evaluation set; give one of them")
        if self.eval_every is not None and not evaluates:
            raise ValueError("eval_every needs an evaluation set: give eval_data or eval_fraction")
        if self.eval_samples and not evaluates:
            raise ValueError("eval_samples needs an evaluation set: give eval_data or eval_fraction")
        if self.eval_samples and self.engine == "fsdp2":
            raise ValueError("eval_samples needs the whole model in one process, and engine=fsdp2 shards it; use ddp")
        if self.sampling == "uniform" and self.sampling_by is not None:
            raise ValueError("sampling_by has no effect on sampling=uniform; name another sampling, or leave it out")
        if self.sampling != "uniform" and self.view is not None:
            raise ValueError(f"sampling={self.sampling} draws at random, and a view keeps its order; give one of them")
        if self.sampling != "uniform" and self.batch_unit == "tokens":
            raise ValueError(f"sampling={self.sampling} draws responses one by one; use batch_unit=responses")
        if self.value not in ("reference", "data") and self.value_fit != DEFAULT_FIT:
            raise ValueError("value_fit has an effect on value=reference and value=data only; leave it out")
        if self.keep_best is not None and not evaluates:
            raise ValueError("keep_best needs an evaluation set: give eval_data or eval_fraction")
        if self.keep_best is not None and self.checkpoint_every is None:
            raise ValueError("keep_best needs checkpoints: give checkpoint_every")
        if self.watch is not None and self.engine == "fsdp2":
            raise ValueError("watch needs the whole model in one process, and engine=fsdp2 shards it; use ddp")
        if self.max_prompt_length is not None and self.max_prompt_length >= self.max_length:
            raise ValueError("max_prompt_length must be below max_length, which the response shares")
        if self.lora is not None and self.adapter is not None:
            raise ValueError("lora makes a new adapter and adapter continues one; give one of them")
        adapted = self.lora is not None or self.adapter is not None
        if self.sync_reference_every is not None and self.reference is not None and adapted:
            raise ValueError("sync_reference_every copies adapters, which another model has not: leave reference out")
        if self.schedule == "constant" and self.warmup and self.steps is not None and self.warmup >= self.steps:
            raise ValueError("warmup takes every step; make it smaller than steps")
        if self.engine == "single" and self.world_size not in ("auto", 1):
            raise ValueError("engine=single is one process, but world_size asks for more; use engine=ddp or fsdp2")
        return self


def _tail(name: str) -> str:
    """The last part of a path, hub name or `file.py:function`, fit for a folder's name."""
    last = name.rstrip("/").replace(":", "/").replace("@", "-").split("/")[-1]
    return re.sub(r"[^\w.-]+", "-", last) or "model"
