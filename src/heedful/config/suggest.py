"""The nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OTHER_TOOLS = {
    "learning_rate": "lr",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "max_steps": "steps",
    "output_dir": "out",
    "output": "out",
    "model_name_or_path": "model",
    "dataset": "data",
    "datasets": "data",
    "train_data": "data",
    "dataset_name": "data",
    "max_seq_length": "max_length",
    "lr_scheduler_type": "schedule",
    "scheduler": "schedule",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "clip": "max_grad_norm",
    "grad_clip": "max_grad_norm",
    "optim": "optimizer",
    "gradient_accumulation_steps": "tokens_per_pack",
    "save_steps": "checkpoint_every",
    "save_total_limit": "keep",
    "eval_steps": "eval_every",
    "report_to": "track",
    "run_name": "track_name",
    "wandb_project": "track_project",
    "bf16": "dtype",
    "fp16": "dtype",
    "precision": "dtype",
    "ref_model": "reference",
    "chat_template": "template",
    "use_peft": "lora",
    "lora_r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_target_modules": "lora.targets",
    "loss": "objective",
    "loss_type": "objective",
}
"""What other trainers call a setting of ours; used in suggestions only, never accepted in silence."""


def suggest(name: str, choices: Iterable[str], *, num: int = 1) -> list[str]:
    """The `num` choices nearest to `name`, best first; empty where nothing is near.

    Hyphens, underscores and case do not count; names that other trainers use for one of the choices lead to it.
    """
    choices = list(choices)
    known = {_plain(theirs): ours for theirs, ours in OTHER_TOOLS.items() if ours in choices}
    known |= {_plain(choice): choice for choice in choices}
    near = difflib.get_close_matches(_plain(name), known, n=num + 3, cutoff=0.65)
    return list(dict.fromkeys(known[match] for match in near))[:num]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`; did you mean X?`, or the empty string where nothing is near: the tail of an error's sentence."""
    near = suggest(name, choices)
    return f"; did you mean {near[0]}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
