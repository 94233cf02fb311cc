"""Tensors in weight files, read by name; nothing that a file contains is ever run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from heedful.models.folders import first_line, weight_files
from heedful.models.quiet import quiet
from heedful.types import UserError


def read_bin(file: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` or `.pt` file.  Raises UserError for one that holds more than plain tensors."""
    try:
        with quiet():
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # Whatever pickle met, none of it was run.
        raise UserError(f"{file} cannot be loaded safely: it holds more than plain tensors, or is damaged") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise UserError(f"{file} is not a plain dictionary of tensors, so it is not a model's weights")
    return content


def read_tensors(folder: str | Path, names: Collection[str]) -> dict[str, Tensor]:
    """The tensors of these names among a folder's weights.  Raises UserError for the first that is missing."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        found |= _safetensors(file, names) if file.suffix == ".safetensors" else read_bin(file)
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise UserError(f"the weights in {folder} hold no {missing}")
    return {name: found[name] for name in names}


def _safetensors(file: Path, names: Collection[str]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as content:
            there = set(content.keys())
            return {name: content.get_tensor(name) for name in names if name in there}
    except SafetensorError as error:
        raise UserError(f"{file} is damaged: {first_line(error)}") from error
