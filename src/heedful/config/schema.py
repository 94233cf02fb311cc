"""Every setting of a training run: its type, its default and, in one line, what it does.

These lines are what `heed train --help` prints.  An objective's own settings are not here: they are the keyword-only
parameters of its function and live under `objective.`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Auto = Literal["auto"]
Count = Annotated[int, Gt(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Gt(0), Lt(1)]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ObjectiveConfig(BaseModel):
    """Which objective, and its own settings beside its name: `objective: {name: dpo, beta: 0.1}`.

    A bare string is the name: `objective: dpo`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    name: str = Field(
        min_length=1, description="name of an objective (see `heed objectives`) or path/to/file.py:function"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def settings(self) -> dict[str, Any]:
        """The objective's keyword arguments."""
        return dict(self.model_extra or {})


class LoraConfig(_Schema):
    """Low-rank adapters instead of the full weights; without dropout, which would make log-probabilities random."""

    r: Count = Field(16, description="rank of the adapters; larger can learn more and takes more memory")
    alpha: Positive = Field(
        32.0, description="scale of the adapters (their output is times alpha/r); larger moves faster"
    )
    targets: list[str] | None = Field(
        None, description="names of the layers to adapt; null: every linear layer but the head"
    )


class TrainConfig(_Schema):
    """The settings of `heed train`."""

    # what is trained, on what
    objective: ObjectiveConfig = Field(
        description="what is minimised: a name or path/to/file.py:function; its settings under `objective.`"
    )
    model: str = Field(
        min_length=1, description="the model to start from: hub name (name@revision), folder, run folder or checkpoint"
    )
    data: str | list[str] = Field(
        description="feedback: file, folder, hub name, or a mixture NAME[:PROPORTION[:PATH]], or a list of them"
    )
    out: str = Field("", description="run folder to write; default runs/OBJECTIVE-MODEL")
    eval_data: str | list[str] | None = Field(None, description="data to evaluate on, written like `data`")
    eval_fraction: Share | None = Field(
        None, description="share of the prompts of `data` held out to evaluate on; instead of `eval_data`"
    )
    reader: str | None = Field(
        None, description="name of the reader of `data`; null: found from what the rows look like"
    )
    readers: list[str] = Field([], description="readers of your own to register first, as path/to/file.py:function")
    seed: Annotated[int, Ge(0)] = Field(0, description="seed of everything random: order, splits, new weights, dropout")

    # how the data becomes batches
    batch_size: Count = Field(
        32, description="how much one optimizer step takes, in `batch_unit`; larger is steadier and makes fewer steps"
    )
    batch_unit: Literal["prompts", "responses", "tokens"] = Field("prompts", description="what `batch_size` counts")
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
    clip: Positive | None = Field(
        1.0, description="largest global norm of the gradient; smaller is steadier; null: no clipping"
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
        None, description="also keep the checkpoint best by a metric: min:eval/loss or max:eval/NAME"
    )
    eval_every: Count | None = Field(None, description="steps between evaluations; null: only at the end")
    eval_samples: Annotated[int, Ge(0)] = Field(
        0, description="how many evaluation prompts are answered at every evaluation, into samples.jsonl"
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
    def _something_named(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value is not None and (not value or not all(value)):
            raise ValueError("must name a file, folder, hub name or mixture")
        return value

    @field_validator("warmup")
    @classmethod
    def _share_or_count(cls, value: float) -> float:
        if value >= 1 and not value.is_integer():
            raise ValueError("must be a share of the steps below 1, or a whole number of steps")
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
        if self.keep_best is not None and not evaluates:
            raise ValueError("keep_best needs an evaluation set: give eval_data or eval_fraction")
        if self.keep_best is not None and self.checkpoint_every is None:
            raise ValueError("keep_best needs checkpoints: give checkpoint_every")
        if self.max_prompt_length is not None and self.max_prompt_length >= self.max_length:
            raise ValueError("max_prompt_length must be below max_length, which the response shares")
        if self.lora is not None and self.adapter is not None:
            raise ValueError("lora makes a new adapter and adapter continues one; give one of them")
        if self.schedule == "constant" and self.warmup and self.steps is not None and self.warmup >= self.steps:
            raise ValueError("warmup takes every step; make it smaller than steps")
        if self.engine == "single" and self.world_size not in ("auto", 1):
            raise ValueError("engine=single is one process, but world_size asks for more; use engine=ddp or fsdp2")
        return self


def _tail(name: str) -> str:
    """The last part of a path, hub name or `file.py:function`, fit for a folder's name."""
    last = name.rstrip("/").replace(":", "/").replace("@", "-").split("/")[-1]
    return re.sub(r"[^\w.-]+", "-", last) or "model"
