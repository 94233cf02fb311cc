"""From the name of a model to a `PackedModel` that is ready to train, with every mistake found before weights load."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from heedful.models import attention
from heedful.models.added_tokens import NewRows, add_rows
from heedful.models.folders import (
    base_of_adapter,
    digest_of,
    first_line,
    is_adapter,
    lasting_name,
    read_json,
    resolve,
    weight_files,
)
from heedful.models.heads import (
    lm_head,
    new_reward_head,
    new_value_head,
    score_head,
    silence_config,
    silence_dropout,
    trunk_of,
)
from heedful.models.lora import START, add_adapter, continue_adapter
from heedful.models.padded import PairFrame
from heedful.models.probe import Verdict, check_padded, probe
from heedful.models.quiet import quiet
from heedful.models.tokenizers import load_tokenizer
from heedful.models.wrapper import PackedModel
from heedful.tokens.control import add_tokens
from heedful.types import UserError

Kind = Literal["lm", "score"]
_DTYPES = {"fp32": (torch.float32, None), "bf16": (torch.float32, torch.bfloat16), "fp64": (torch.float64, None)}
VALUE_HEAD_FILE, REWARD_HEAD_FILE = "value_head.safetensors", "reward_head.safetensors"


@dataclass
class Loaded:
    """A model that is ready to train.

    config: the Transformers config.  digest: who the model is that was loaded (base, plus the adapter it continues):
    the reference of the run.  path: its folder.  packed: whether it reads packs as they are; note: a sentence on that.
    max_length: the longest sequence it has positions for, special tokens of an encoder taken off; None if unbounded.
    """

    model: PackedModel
    tokenizer: Any
    config: Any
    digest: str
    path: str
    packed: bool
    note: str
    max_length: int | None


def load_policy(
    name: str,
    *,
    kind: Kind = "lm",
    dtype: str = "fp32",
    device: torch.device | str = "cpu",
    lora: dict[str, Any] | None = None,
    adapter: str | None = None,
    trust_remote_code: bool = False,
    gradient_checkpointing: bool = False,
    seed: int = 0,
    added_tokens: Sequence[str] = (),
    new_rows: NewRows = "spelled",
    value_head: bool = False,
    reward_head: bool = False,
) -> Loaded:
    """Load a causal language model, or a model that scores (one number per response), for training.

    name: hub name (`@revision`), folder, run folder or checkpoint; a PEFT folder means its base with that adapter.
    dtype: `fp32`; `bf16` computes in bfloat16 on float32 weights; `fp64` for comparisons.
    lora: settings of new adapters (r, alpha, targets).  adapter: a PEFT folder to continue instead.
    gradient_checkpointing: recompute activations in the backward pass.  seed: of new weights (adapters, heads).
    value_head: with a head that gives values: the one that lies beside the weights, or a new one.
    reward_head: with a linear head that foretells rewards: the one that lies beside the weights, or one of zeros.
    added_tokens: special tokens that tokenizer and model get if they lack them; new_rows: what their embeddings begin
    as (see `added_tokens.add_rows`).
    Dropout is off.  Raises UserError for whatever is wrong with the folder, before its weights load.
    """
    path = resolve(name, trust_remote_code=trust_remote_code)
    adapter = None if adapter is None else resolve(adapter, setting="adapter")
    if is_adapter(path):
        if adapter is not None or lora is not None:
            raise UserError(f"model={name} is an adapter; to put another on it, merge it first (heed model merge)")
        name, adapter = base_of_adapter(path), path
        path = resolve(name, trust_remote_code=trust_remote_code)
    if adapter is not None and lora is not None:
        raise UserError("lora makes a new adapter and adapter continues one; give one of them")
    if adapter is not None and not is_adapter(adapter):
        raise UserError(f"adapter={adapter} holds no adapter_config.json, so it is not a PEFT adapter")
    written, files = read_json(Path(path) / "config.json"), weight_files(path)
    tokenizer = load_tokenizer(adapter or path, trust_remote_code=trust_remote_code)
    spelled = add_tokens(tokenizer, added_tokens)
    if spelled and (lora is not None or adapter is not None):
        raise UserError(
            f"{path} has no embeddings for {', '.join(added_tokens)}, and adapters cannot learn new ones; train all "
            "weights (lora=null), or start from a model that has these tokens"
        )
    config = _load_config(path, written, kind, tokenizer, trust_remote_code)

    attention.register()
    inner = _load_weights(path, files, config, kind, dtype, trust_remote_code, seed)
    silence_dropout(inner)
    add_rows(inner, spelled, new_rows)
    _check_vocabulary(tokenizer, inner, path)
    inner.to(device)  # pyright: ignore[reportArgumentType]
    frame = None
    if kind == "score" and score_head(inner) is None:
        frame = PairFrame.of(tokenizer, getattr(config, "type_vocab_size", 0))
    verdict = _how_to_read(inner, kind, frame, own_code=type(inner).__module__.startswith("transformers_modules"))
    if gradient_checkpointing:
        with warnings.catch_warnings():
            # Renamed in late Transformers 5; the old name is the one that every 5 has.
            warnings.simplefilter("ignore", FutureWarning)
            inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if adapter is not None:
        inner = continue_adapter(inner, adapter)
    elif lora is not None:
        inner = add_adapter(inner, lora, kind, seed, base=lasting_name(name, path))

    def with_head(new: Callable[[int], nn.Module], file: str) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = new(lm_head(inner).weight.shape[1])
        return _filled(head, file, [adapter, path]).to(device, _DTYPES[dtype][0])

    model = PackedModel(
        inner.to(device).train(),
        packed=verdict.packed,
        compute_dtype=_DTYPES[dtype][1],
        frame=frame,
        value_head=with_head(new_value_head, VALUE_HEAD_FILE) if value_head else None,
        reward_head=with_head(new_reward_head, REWARD_HEAD_FILE) if reward_head else None,
        reference_adapter=START if adapter is not None else None,
    )
    if kind == "lm":
        lm_head(inner)
    digest = digest_of(path if adapter is None else adapter)
    return Loaded(model, tokenizer, config, digest, path, verdict.packed, verdict.note, _max_length(config, frame))


def digest(model: Loaded | str) -> str:
    """Who a model is, from its weights and config (and its base's, for an adapter): equal for equal models.

    Of a `Loaded`, the model as it was loaded, whatever training did to it since.
    """
    return model.digest if isinstance(model, Loaded) else digest_of(resolve(model))


def _load_config(path: str, written: dict[str, Any], kind: Kind, tokenizer: Any, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        with quiet():
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    except Exception as error:  # Foreign files and foreign code: the sentence is ours, the reason theirs.
        if "auto_map" in written and not trust_remote_code:
            raise UserError(
                f"{path} comes with its own modelling code; if you trust it, set trust_remote_code=true to run it"
            ) from error
        raise UserError(f"{path}/config.json is not a config that Transformers reads: {first_line(error)}") from error
    if config.is_encoder_decoder:
        raise UserError(f"{path} is an encoder-decoder ({config.model_type}); only decoders and encoders train here")
    if kind == "score":
        judged = any("ForSequenceClassification" in name for name in written.get("architectures") or [])
        labels = written.get("id2label") or {}
        if judged and len(labels) not in (0, 1):
            raise UserError(f"{path} is a classifier of {len(labels)} labels; a reward model has one")
        config.num_labels = 1
        text = config.get_text_config()
        if text.pad_token_id is None or text.pad_token_id == tokenizer.eos_token_id:
            # The plain model reads the score at the last token that is not padding, so EOS must never be padding.
            text.pad_token_id = tokenizer.pad_token_id
    silence_config(config)
    return config


def _load_weights(
    path: str, files: list[Path], config: Any, kind: Kind, dtype: str, trust_remote_code: bool, seed: int
) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if dtype not in _DTYPES:
        raise UserError(f"dtype={dtype} is not one of {', '.join(_DTYPES)}")
    auto = AutoModelForSequenceClassification if kind == "score" else AutoModelForCausalLM
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inner, report = auto.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
                path,
                config=config,
                dtype=_DTYPES[dtype][0],
                trust_remote_code=trust_remote_code,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # Foreign files and foreign code: the sentence is ours, the reason theirs.
        if isinstance(error, pickle.UnpicklingError):
            raise UserError(
                f"{files[0]} cannot be loaded safely: it holds more than plain tensors, or is damaged"
            ) from error
        raise UserError(f"the weights in {path} do not load: {first_line(error)}") from error
    new_head = {"score", "classifier", "pooler"} if kind == "score" else set()
    missing = sorted(key for key in report["missing_keys"] if not new_head & set(key.split(".")))
    missing += sorted(str(key[0]) for key in report["mismatched_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        what = "a language model" if kind == "lm" else "a model that scores"
        raise UserError(f"the weights in {path} are not those of {what}: {missing[0]}{more} missing or misshapen")
    return inner


def _how_to_read(inner: Any, kind: Kind, frame: PairFrame | None, *, own_code: bool) -> Verdict:
    if frame is not None:
        return Verdict(False, "reads padded text pairs: an encoder looks both ways, so it shares no prefix")
    trunk_of(inner)
    if own_code:
        check_padded(inner, kind)
        return Verdict(False, "reads padded batches, which is slower: it comes with its own modelling code")
    return probe(inner, kind)


def _check_vocabulary(tokenizer: Any, inner: Any, path: str) -> None:
    rows = inner.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"the tokenizer in {path} has {len(tokenizer)} tokens but the model only {rows} embeddings; "
            "they do not belong together"
        )


def _filled(head: nn.Module, name: str, folders: Sequence[str | None]) -> nn.Module:
    """The head with the numbers in the file `name` of the first of these folders that holds one, if one does."""
    from safetensors.torch import load_file

    files = [Path(folder) / name for folder in folders if folder is not None]
    if file := next((file for file in files if file.is_file()), None):
        try:
            head.load_state_dict(load_file(file))
        except RuntimeError as error:
            what = file.stem.replace("_", " ")
            raise UserError(f"{file} does not hold a {what} of this model: {first_line(error)}") from error
    return head


def _max_length(config: Any, frame: PairFrame | None) -> int | None:
    text = config.get_text_config()
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    longest = next((n for name in names if (n := getattr(text, name, None))), None)
    if longest is None or frame is None:
        return longest
    # RoBERTa and kin count positions from the padding id, so that many of the table's rows are not for tokens.
    offset = (text.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return longest - offset - frame.num_special
