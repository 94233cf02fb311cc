"""What is trained: a module, its optimizer and how its gradient is clipped, under a name."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from heedful.config import TrainConfig, did_you_mean
from heedful.objectives.reduce import VALUE_HEAD, Objective
from heedful.objectives.trial import trainees_of
from heedful.training.schedules import lr_factor, warmup_steps
from heedful.types import UserError


@dataclass
class Trainee:
    """Parameters in training under one name.  Terms of an objective say which trainee they train.

    named: the parameters that learn, by their names in the plain module.
    lr: peak learning rate; max_grad_norm: largest global norm of its gradient, None for no clipping.
    """

    name: str
    named: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    lr: float
    max_grad_norm: float | None
    schedule: str
    warmup: int
    num_steps: int

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return list(self.named.values())

    def set_lr(self, step: int) -> float:
        """Set and return the learning rate of step `step` (from 0)."""
        lr = self.lr * lr_factor(self.schedule, step, self.num_steps, self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def gradient_norm(self) -> float:
        """Global L2 norm of the gradient, over all parameters and all shards."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def clip_gradient(self, norm: float) -> None:
        """Scale the gradient down to the clip norm if it is longer."""
        if self.max_grad_norm is not None and norm > self.max_grad_norm:
            grads = [p.grad for p in self.parameters if p.grad is not None]
            torch._foreach_mul_(grads, self.max_grad_norm / (norm + 1e-6))

    def optimizer_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimizer's tensors, whole, on the CPU, keyed `parameter/entry`, and its plain numbers."""
        tensors, numbers = {}, {}
        for name, parameter in self.named.items():
            for entry, value in self.optimizer.state.get(parameter, {}).items():
                key = f"{name}/{entry}"
                if isinstance(value, Tensor):
                    whole = value.full_tensor() if isinstance(value, DTensor) else value
                    tensors[key] = whole.detach().cpu().contiguous()
                else:
                    numbers[key] = value
        return tensors, numbers

    def load_optimizer_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Put back what `optimizer_state` gave, sharded again where the parameter is."""
        for name, parameter in self.named.items():
            prefix = f"{name}/"
            state: dict[str, Any] = {k[len(prefix) :]: v for k, v in numbers.items() if k.startswith(prefix)}
            for key, value in tensors.items():
                if key.startswith(prefix):
                    entry = key[len(prefix) :]
                    state[entry] = _like(entry, value, parameter, self.optimizer)
            if state:
                self.optimizer.state[parameter] = state


def plain_name(name: str) -> str:
    """A parameter's name without what DDP or activation checkpointing put before it."""
    return name.removeprefix("module.").replace("_checkpoint_wrapped_module.", "")


def _like(entry: str, value: Tensor, parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> Tensor:
    """The tensor where and as the optimizer would hold it for this parameter."""
    if entry == "step":
        # Fused and capturable optimizers keep the counter beside the parameter, the others on the CPU.
        group = optimizer.param_groups[0]
        beside = group.get("fused") or group.get("capturable")
        return value.clone().to(parameter.device) if beside else value.clone()
    if isinstance(parameter.data, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value.to(parameter.device), parameter.data.device_mesh, parameter.data.placements)
    return value.clone().to(parameter.device)


def check_trainees(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError for settings of a value head that the objective does not train."""
    if VALUE_HEAD in trainees_of(objective):
        return
    for name in ("value_head_lr", "value_head_max_grad_norm"):
        if getattr(config, name) != TrainConfig.model_fields[name].default:
            raise UserError(f"{name} has no effect: {objective.name} trains no value head; leave it out.")


def make_trainee(name: str, module: nn.Module, config: TrainConfig, num_steps: int) -> Trainee:
    """The trainee that a configuration asks for; matrices decay, biases and norms do not.

    name: `value_head` takes that part of the module, `policy` all the rest.
    """
    of_head = name == VALUE_HEAD
    named = {plain_name(n): p for n, p in module.named_parameters() if p.requires_grad}
    named = {n: p for n, p in named.items() if n.startswith(f"{VALUE_HEAD}.") == of_head}
    trained = list(named.values())
    lr, limit = config.lr, config.max_grad_norm
    if of_head:
        lr, limit = config.value_head_lr or config.lr, config.value_head_max_grad_norm
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = make_optimizer(config, [g for g in groups if g["params"]])
    return Trainee(
        name,
        named,
        optimizer,
        lr,
        limit if limit is not None and math.isfinite(limit) else None,
        config.schedule,
        warmup_steps(config.warmup, num_steps),
        num_steps,
    )


def optimizer_arguments(config: TrainConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The optimizer's class and arguments.

    Raises UserError for a name that torch.optim does not have, or an argument the optimizer does not take.
    """
    names = [n for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
    names = [n for n in names if n not in ("Optimizer", "LBFGS", "SparseAdam")]
    if config.optimizer not in names:
        raise UserError(f"optimizer={config.optimizer}: torch.optim has none{did_you_mean(config.optimizer, names)}")
    cls = getattr(torch.optim, config.optimizer)
    takes = inspect.signature(cls).parameters
    for key in ("params", "lr", "weight_decay"):
        if key in config.optimizer_args:
            where = "the model's own" if key == "params" else f"a setting of its own: say {key}="
            raise UserError(f"optimizer_args.{key} cannot take effect here; it is {where}")
    arguments = {"lr": config.lr, **config.optimizer_args}
    arguments |= {k: v for k, v in (("betas", config.betas), ("eps", config.eps)) if v is not None}
    for key in arguments:
        if key not in takes:
            options = ", ".join(p for p in takes if p != "params")
            raise UserError(f"optimizer={config.optimizer} takes no {key}; it takes {options}")
    if config.weight_decay and "weight_decay" not in takes:
        raise UserError(f"optimizer={config.optimizer} has no weight decay; set weight_decay=0")
    return cls, arguments


def make_optimizer(config: TrainConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer over these groups; fused kernels where it has them for these tensors."""
    cls, arguments = optimizer_arguments(config)
    takes = inspect.signature(cls).parameters
    if "weight_decay" not in takes:
        for group in groups:
            group.pop("weight_decay")
    sharded = any(isinstance(p.data, DTensor) for group in groups for p in group["params"])
    chosen = {"fused", "foreach", "differentiable"} & config.optimizer_args.keys()
    if "fused" in takes and not chosen and not sharded:
        kinds = {p.device.type for group in groups for p in group["params"]}
        if kinds <= {"cpu", "cuda"}:
            arguments["fused"] = True
    try:
        return cls(groups, **arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"optimizer={config.optimizer} refuses its settings or this model: {error}") from error
