"""A Keras critic (TensorFlow's RoBERTa with two dense layers, weights in HDF5) as a folder with safetensors."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heedful.models.folders import first_line, read_json, refuse_used, resolve
from heedful.models.quiet import quiet
from heedful.types import UserError

HEAD_FILE = "head.safetensors"
HEAD_NAMES = ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")

_TRUNK = ("embeddings", "encoder", "pooler")
_LEAVES = {"kernel": "weight", "gamma": "weight", "weight": "weight", "embeddings": "weight", "beta": "bias"}
_SKIPPED = (".safetensors", ".bin", ".index.json", ".h5", ".msgpack", ".ot", ".pt", ".pth")


def convert_keras(source: str | Path, like: str, out: str | Path) -> Path:
    """Write the Keras weights `source` (.h5) as `out`: a RoBERTa folder and `head.safetensors`; returns `out`.

    like: a folder or hub name of the RoBERTa that was tuned; its config and tokenizer are copied.
    Raises UserError if the weights are not those of such a model with a head of two layers, or h5py is missing.
    """
    from safetensors.torch import save_file

    base, out = Path(resolve(like, setting="like")), Path(out)
    arrays = read_h5(Path(source))
    refuse_used(out)
    trunk, head = torch_tensors(arrays)
    _check(trunk, base, source)
    out.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        if file.is_file() and not file.name.endswith(_SKIPPED):
            shutil.copy2(file, out / file.name)
    save_file(trunk, out / "model.safetensors", metadata={"format": "pt"})
    save_file(head, out / HEAD_FILE)
    return out


def torch_tensors(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Keras's arrays by their path names as tensors by PyTorch's names: those of RobertaModel, and those of the head.

    Keras keeps a layer's matrix as (in, out), PyTorch as (out, in).  The head's last layer is the one with one output.
    Raises UserError for arrays that are not a RoBERTa's with two dense layers on its pooler.
    """
    trunk, rest = {}, {}
    for name, array in arrays.items():
        parts = name.split("/")
        if parts[0] == "optimizer_weights":
            continue
        start = next((i for i, part in enumerate(parts) if part in _TRUNK), None)
        leaf = parts[-1].partition(":")[0]
        tensor = torch.from_numpy(np.ascontiguousarray(array.T if leaf == "kernel" else array))
        if start is None:
            rest["/".join(parts[:-1]), _LEAVES.get(leaf, leaf)] = tensor
        else:
            path = ".".join(part.replace("_._", ".") for part in parts[start:-1])
            trunk[f"{path}.{_LEAVES.get(leaf, leaf)}"] = tensor
    return trunk, _head(rest)


def _head(rest: dict[tuple[str, str], Tensor]) -> dict[str, Tensor]:
    sizes = {layer: len(tensor) for (layer, kind), tensor in rest.items() if kind == "weight"}
    last = [layer for layer, size in sizes.items() if size == 1]
    if len(sizes) != 2 or len(last) != 1:
        raise UserError(
            f"a critic has two dense layers on its pooler, the last with one output; found {sizes or 'none'}"
        )
    names = {layer: "out_proj" if layer == last[0] else "dense" for layer in sizes}
    head = {f"{names[layer]}.{kind}": tensor for (layer, kind), tensor in rest.items() if layer in names}
    missing = sorted(set(HEAD_NAMES) - set(head))
    if missing:
        raise UserError(f"the critic's head has no {missing[0]}")
    return head


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Every array of an HDF5 file by its path in it.  Raises UserError without h5py or for another file."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("reading .h5 files needs h5py; install heedful[keras]") from error
    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except OSError as error:
        raise UserError(f"{path} cannot be read as HDF5: {first_line(error)}") from error
    return found


def _check(trunk: dict[str, Tensor], base: Path, source: str | Path) -> None:
    """Raise UserError unless the tensors fill the RoBERTa that the folder's config describes."""
    from transformers import AutoConfig, RobertaConfig, RobertaModel

    read_json(base / "config.json")
    with quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(base)
        if not isinstance(config, RobertaConfig):
            raise UserError(f"like={base} is a {config.model_type}; the critic is a RoBERTa")
        shapes = {name: tensor.shape for name, tensor in RobertaModel(config).named_parameters()}
    for name, shape in shapes.items():
        if name not in trunk:
            raise UserError(f"{source} has no {name}, which the RoBERTa of {base} has")
        if trunk[name].shape != shape:
            raise UserError(f"{source}: {name} is {tuple(trunk[name].shape)}, but {tuple(shape)} in {base}")
    extra = sorted(set(trunk) - set(shapes))
    if extra:
        raise UserError(f"{source} has {extra[0]}, which the RoBERTa of {base} has not")
