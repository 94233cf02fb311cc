"""From the folder of a published classifier to a `TextModel`: fp32, evaluation mode, weights complete or refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from heedful.models import load_tokenizer, resolve
from heedful.models.folders import first_line, is_adapter, read_json, weight_files
from heedful.models.heads import score_head, trunk_of
from heedful.models.quiet import quiet
from heedful.models.tensors import read_tensors
from heedful.scorers.text_model import Forward, TextModel, at_last_token
from heedful.types import UserError


def folder_of(name: str) -> str:
    """The folder of a whole model, by its path or hub name.  Raises UserError for anything else, an adapter too."""
    folder = resolve(name, setting="folder")
    if is_adapter(folder):
        raise UserError(f"{folder} is an adapter; heed model merge makes it a whole model")
    weight_files(folder)
    return folder


def load_config(folder: str) -> Any:
    """The Transformers config of a folder."""
    from transformers import AutoConfig

    read_json(Path(folder) / "config.json")
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder)
    except Exception as error:  # Foreign files: the sentence is ours, the reason theirs.
        raise UserError(f"{folder}/config.json is not a config that Transformers reads: {first_line(error)}") from error


def load_weights(kind: Any, folder: str, config: Any, device: str) -> Any:
    """A model of the Transformers class `kind` with the folder's weights, fp32, in evaluation mode.

    Raises UserError if they do not load or do not fill the whole model.
    """
    files = weight_files(folder)
    try:
        with quiet():
            model, report = kind.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                output_loading_info=True,
            )
    except pickle.UnpicklingError as error:
        raise UserError(f"{files[0]} cannot be loaded safely: it holds more than plain tensors") from error
    except Exception as error:  # Foreign files: the sentence is ours, the reason theirs.
        raise UserError(f"the weights in {folder} do not load: {first_line(error)}") from error
    missing = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if missing:
        raise UserError(f"the weights in {folder} are not those of a {type(model).__name__}: {missing[0]} is missing")
    return model.to(device).eval()


def load_classifier(name: str, device: str, *, max_length: int | None = None) -> tuple[TextModel, Any]:
    """A sequence classifier of any architecture that Transformers has, and its config.  It gives its labels' logits.

    An encoder keeps the beginning of a text that is too long; a decoder, which judges at the last token, its end.
    max_length: of a text in tokens; at most the model's own context, which is what None means.
    """
    from transformers import AutoModelForSequenceClassification

    folder = folder_of(name)
    config = load_config(folder)
    model = load_weights(AutoModelForSequenceClassification, folder, config, device)
    head = score_head(model)
    if head is not None:
        return text_model(folder, config, at_last_token(trunk_of(model), head), device, max_length=max_length), config
    return text_model(
        folder, config, lambda inputs: model(**inputs).logits, device, max_length=max_length, keeps="beginning"
    ), config


def load_with_head(kind: Any, name: str, config: Any, head: str, device: str, *, max_length: int) -> TextModel:
    """A decoder trunk (`kind`) with one linear layer on its last token, whose weights are called `head`."""
    folder = folder_of(name)
    tensors = read_tensors(folder, (f"{head}.weight", f"{head}.bias"))
    trunk = load_weights(kind, folder, config, device)
    layer = linear(tensors[f"{head}.weight"], tensors[f"{head}.bias"]).to(device)
    return text_model(folder, config, at_last_token(trunk, layer), device, max_length=max_length)


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """The linear layer of these weights, fp32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer.eval()


def text_model(
    folder: str,
    config: Any,
    forward: Forward,
    device: str,
    *,
    max_length: int | None,
    keeps: Literal["beginning", "end"] = "end",
) -> TextModel:
    """`forward` with the folder's tokenizer, its padding and its context, or `max_length` where that is less."""
    lengths = [length for length in (max_length, _context(config)) if length is not None]
    has_types = keeps == "beginning" and getattr(config, "type_vocab_size", 0) > 1
    pad_id = getattr(config, "pad_token_id", None) or 0
    return TextModel(load_tokenizer(folder), forward, min(lengths, default=1024), keeps, pad_id, device, has_types)


def _context(config: Any) -> int | None:
    """The longest input in tokens, special ones included; None if it is unbounded."""
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    longest = next((n for name in names if (n := getattr(config, name, None))), None)
    # RoBERTa and kin count positions from the padding id, so that many of the table's rows are not for tokens.
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return None if longest is None else longest - offset
