"""Which parts of a Transformers model are its trunk, its output head, its layers; and how its logits are made."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from heedful.models.logprobs import Head
from heedful.types import UserError


def base_of(inner: nn.Module) -> Any:
    """The Transformers model inside a PEFT model; any other model itself."""
    return inner.get_base_model() if hasattr(inner, "peft_config") and hasattr(inner, "get_base_model") else inner  # pyright: ignore


def trunk_of(inner: nn.Module) -> nn.Module:
    """The part that turns tokens into final hidden states.  Adapters are inside it.

    Raises UserError for a model that does not say which part that is.
    """
    base = base_of(inner)
    trunk = getattr(base, getattr(base, "base_model_prefix", "") or "", None)
    if not isinstance(trunk, nn.Module):
        raise UserError(
            f"{type(base).__name__} does not name its trunk in base_model_prefix, so it cannot be trained; "
            "use an architecture that Transformers knows"
        )
    return trunk


def layers_of(inner: nn.Module) -> list[nn.Module]:
    """The repeated layers of the trunk, first to last: what FSDP shards one by one."""
    stacks = [module for module in trunk_of(inner).modules() if isinstance(module, nn.ModuleList)]
    return list(max(stacks, key=len)) if stacks else []


def lm_head(inner: nn.Module) -> Head:
    """How hidden states become logits, with the multipliers and soft-caps of the architectures that have them.

    Whether this is the whole truth about a model is what the probe finds out.  Raises UserError for a head that is
    not one matrix (an adapter on the head, say).
    """
    base = base_of(inner)
    module = base.get_output_embeddings()
    module = _saved_copy(module)
    if type(module) is not nn.Linear:
        kind = "no output head" if module is None else f"an output head of type {type(module).__name__}"
        raise UserError(
            f"{type(base).__name__} has {kind}, not a plain linear layer; leave the head out of lora.target_modules"
        )
    config = base.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(module.weight, module.bias, scale, getattr(config, "final_logit_softcapping", None))


def new_value_head(width: int) -> nn.Sequential:
    """From hidden states to one value through two layers of their width with ReLU: HALOs' critic sans dropout."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


def new_reward_head(width: int) -> nn.Linear:
    """From hidden states to the logit of a token's reward, without bias and from zero: PHF's value head."""
    head = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(head.weight)
    return head


def score_head(inner: nn.Module) -> nn.Linear | None:
    """The linear layer that scores the last token, or None where the model scores in a way of its own (encoders)."""
    module = _saved_copy(getattr(base_of(inner), "score", None))
    return module if isinstance(module, nn.Linear) else None


def _saved_copy(module: Any) -> Any:
    """The trained copy of a module that PEFT saves whole (`modules_to_save`), or the module itself."""
    copies = getattr(module, "modules_to_save", None)
    if not isinstance(copies, nn.ModuleDict):
        return module
    if module.disable_adapters or not module.active_adapters:
        return module.original_module
    return copies[module.active_adapters[0]]


def silence_dropout(model: nn.Module) -> None:
    """Set every dropout of a model and of its config to zero: log-probabilities must be a function of the tokens."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "hidden_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    silence_config(getattr(model, "config", None))


def silence_config(config: Any) -> None:
    """Set every dropout setting of a Transformers config to zero."""
    for name, value in vars(config).items():
        if isinstance(value, float) and ("drop" in name or name.endswith("_pdrop")):
            setattr(config, name, 0.0)
