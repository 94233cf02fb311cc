"""Low-rank adapters through PEFT: new ones, or one that is continued with its starting point kept as the reference."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from heedful.models.folders import first_line, weight_files
from heedful.types import UserError

START = "start"
"""Name of the frozen copy of the adapter that a run continues."""


def add_adapter(
    model: Any, settings: dict[str, Any], kind: str, seed: int, *, base: tuple[str, str | None] | None = None
) -> Any:
    """Wrap a Transformers model with fresh LoRA adapters.

    settings: r, alpha, targets (layer names; None: every linear layer but the head).
    base: name and revision of the model, for the adapter's config.
    Raises UserError for settings that cannot take effect.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    given = {"r": 16, "alpha": 32.0, "targets": None} | settings
    unknown = sorted(given.keys() - {"r", "alpha", "targets"})
    if unknown:
        raise UserError(f"lora.{unknown[0]} is not a setting; there are r, alpha and targets")
    config = LoraConfig(
        r=given["r"],
        lora_alpha=given["alpha"],
        target_modules=given["targets"] or "all-linear",
        task_type=TaskType.SEQ_CLS if kind == "score" else TaskType.CAUSAL_LM,
    )
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            peft_model = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora.targets={given['targets']} does not fit {type(model).__name__}: {error}") from error
    if base is not None:
        adapter = peft_model.peft_config["default"]
        adapter.base_model_name_or_path, adapter.revision = base
    return peft_model


def continue_adapter(model: Any, folder: str, *, frozen: bool = False) -> Any:
    """Wrap a Transformers model with the adapter of a folder, trainable, and a frozen copy of it named `start`.

    frozen: only the adapter, not trainable and without the copy.
    Raises UserError if the folder holds no safetensors adapter that fits the model.
    """
    from peft import PeftModel

    files = weight_files(folder)
    if files[0].suffix == ".bin":
        raise UserError(f"{files[0]} is not safetensors; rewrite it with `heed model convert {folder} NEW_FOLDER`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peft_model = PeftModel.from_pretrained(model, folder, is_trainable=not frozen)
            if not frozen:
                peft_model.load_adapter(folder, START, is_trainable=False)
                peft_model.set_adapter("default")
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"the adapter in {folder} does not fit {type(model).__name__}: {first_line(error)}") from error
    bias = getattr(peft_model.peft_config["default"], "bias", "none")
    if bias != "none":
        raise UserError(f"the adapter in {folder} trains biases too (bias={bias}), so its base cannot be told apart")
    return peft_model
