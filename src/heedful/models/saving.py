"""Writing models as plain Transformers or PEFT folders; turning `.bin` weights and adapters into them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from heedful.models.folders import base_of_adapter, is_adapter, read_json, refuse_used, resolve, weight_files
from heedful.models.keras import convert_keras
from heedful.models.loading import REWARD_HEAD_FILE, VALUE_HEAD_FILE
from heedful.models.lora import continue_adapter
from heedful.models.quiet import quiet
from heedful.models.tensors import read_bin
from heedful.models.tokenizers import load_tokenizer
from heedful.models.wrapper import PackedModel
from heedful.types import UserError


def save(model: PackedModel, tokenizer: Any, path: str | Path, *, state: dict[str, Tensor] | None = None) -> None:
    """Write a model and its tokenizer as a folder that `from_pretrained` loads (for LoRA, a PEFT folder).

    state: the whole tensors by the names of `model.state_dict()`, where the model's own are shards.
    A value or reward head lies beside, in `value_head.safetensors` and `reward_head.safetensors`.
    The config says dropout 0: that is how it was trained.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    state = _with_ties(model, dict(model.state_dict() if state is None else state))
    inner = {name.removeprefix("inner."): tensor for name, tensor in state.items() if name.startswith("inner.")}
    with quiet():
        if hasattr(model.inner, "peft_config"):
            model.inner.save_pretrained(str(path), state_dict=inner, selected_adapters=["default"])  # pyright: ignore
        else:
            model.inner.save_pretrained(str(path), state_dict=inner)  # pyright: ignore[reportCallIssue]
    for name, file in (("value_head", VALUE_HEAD_FILE), ("reward_head", REWARD_HEAD_FILE)):
        if (module := getattr(model, name)) is not None:
            save_file({key: state[f"{name}.{key}"].contiguous().cpu() for key in module.state_dict()}, path / file)
    tokenizer.save_pretrained(str(path))


def _with_ties(model: PackedModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make names that share one parameter share one tensor, so that it is written once."""
    owner: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first = owner.setdefault(id(tensor), name)
        if first != name and first in state:
            state[name] = state[first]
    return state


def convert(source: str, out: str | Path, *, like: str | None = None) -> Path:
    """Rewrite a model (or adapter) folder with `.bin` weights as one with safetensors; everything else is copied.

    Only plain tensors are read from `.bin` files: one that would run code is refused with a UserError.
    A source that ends in `.h5` is a Keras critic, and `like` the RoBERTa it was tuned from (`keras.convert_keras`).
    """
    from safetensors.torch import save_file

    if source.endswith(".h5") != (like is not None):
        raise UserError("like names the RoBERTa that a Keras critic (a .h5 file) was tuned from; give both or neither")
    if like is not None:
        return convert_keras(source, like, out)
    folder, out = Path(resolve(source)), Path(out)
    files = weight_files(folder)
    if files[0].suffix == ".safetensors":
        raise UserError(f"{folder} holds safetensors already ({files[0].name}); there is nothing to convert")
    refuse_used(out)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_bin(file)
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file() and file not in files and not file.name.endswith((".bin", ".bin.index.json", ".pt", ".pth")):
            shutil.copy2(file, out / file.name)
    name = "adapter_model.safetensors" if is_adapter(folder) else "model.safetensors"
    save_file(_unshared(tensors), out / name, metadata={"format": "pt"})
    return out


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors with memory of their own; of names for the same tensor (tied weights) only the first."""
    seen: set[tuple[Any, ...]] = set()
    kept = {}
    for name, tensor in tensors.items():
        where = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        if where not in seen or tensor.numel() == 0:
            kept[name] = tensor.clone().contiguous()
        seen.add(where)
    return kept


def merge(adapter: str, out: str | Path) -> Path:
    """Add an adapter into its base model and write the sum as a plain model folder.

    Raises UserError if `adapter` is not an adapter or `out` holds something.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    folder, out = resolve(adapter), Path(out)
    if not is_adapter(folder):
        raise UserError(f"{folder} is a whole model, not an adapter; there is nothing to merge")
    refuse_used(out)
    base = resolve(base_of_adapter(folder))
    weight_files(base)
    scores = read_json(Path(folder) / "adapter_config.json").get("task_type") == "SEQ_CLS"
    auto = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    with quiet():
        config = AutoConfig.from_pretrained(base, **({"num_labels": 1} if scores else {}))
        model = auto.from_pretrained(base, config=config, weights_only=True)
        merged = continue_adapter(model, folder, frozen=True).merge_and_unload()
        merged.save_pretrained(str(out))
    load_tokenizer(folder).save_pretrained(str(out))
    return out
