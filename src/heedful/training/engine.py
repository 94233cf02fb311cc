"""One module on one process, on several with DDP, or sharded with FSDP2: wrapping, whole states, loading them back."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from heedful.models.wrapper import PackedModel
from heedful.training.trainee import plain_name
from heedful.training.world import World


def wrap(model: PackedModel, world: World) -> nn.Module:
    """The module to call in training.  FSDP2 shards every layer, then the rest."""
    if world.engine == "single":
        return model
    if world.engine == "ddp":
        devices = [world.device] if world.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, **_no_buffer_sync())
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _no_buffer_sync() -> dict[str, Any]:
    """Buffers (rotary frequencies) are the same everywhere and never change; torch has renamed the switch."""
    takes = inspect.signature(nn.parallel.DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in takes else "broadcast_buffers": False}


def unwrap(module: nn.Module) -> PackedModel:
    """The PackedModel inside."""
    inner = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    assert isinstance(inner, PackedModel)
    return inner


@contextlib.contextmanager
def without_gradient(module: nn.Module) -> Iterator[None]:
    """Forwards without backward.  FSDP2 leaves its outermost parameters whole after one, and whoever then looked for
    the parameters (an optimizer's state, say) would find others than the shards; so they are sharded again."""
    with torch.no_grad():
        yield
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def is_adapted(model: PackedModel) -> bool:
    """Whether adapters are trained instead of the model's own weights."""
    return hasattr(model.inner, "peft_config")


def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from its shards, if it is sharded.  Every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def copy_whole(target: Tensor, value: Tensor) -> None:
    """Put a whole tensor into one that may be sharded."""
    if isinstance(target, DTensor):
        value = distribute_tensor(value.to(target.device), target.device_mesh, target.placements)
    target.copy_(value)


def whole_state(model: PackedModel) -> dict[str, Tensor]:
    """The model's tensors, whole, by name.  Every rank must call it: shards are gathered."""
    return {name: whole(value) for name, value in model.state_dict().items()}


@torch.no_grad()
def load_whole_state(model: PackedModel, state: dict[str, Tensor]) -> None:
    """Put whole tensors into the model, sharded as it is.  Names must match."""
    own = model.state_dict()
    assert own.keys() == {plain_name(name) for name in state}, "a checkpoint of another model"
    for name, value in state.items():
        copy_whole(own[plain_name(name)], value)
