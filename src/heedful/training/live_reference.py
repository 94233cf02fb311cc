"""A reference model that runs beside the policy in every forward: one that is synced, or one that `kl` is taken from.

Any other reference is a column of the data, computed once (`reference.py`).  A synced reference is a frozen part of the
run: every so many steps it becomes the policy as it is before the optimizer's step, and checkpoints hold it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from heedful.config import TrainConfig
from heedful.models.batch import PackTensors
from heedful.models.heads import lm_head
from heedful.models.logprobs import Head, ReferenceStates
from heedful.models.wrapper import PackedModel
from heedful.objectives.reduce import VALUE_HEAD, Objective
from heedful.objectives.trial import needs
from heedful.training.context import Context, has_live_reference, load_reference
from heedful.training.engine import copy_whole, is_adapted, unwrap, whole, without_gradient, wrap
from heedful.types import UserError


@dataclass
class LiveReference:
    """The reference and when it is synced.

    module: what is called: a frozen model of its own, wrapped as the policy is, or the policy while its adapters are
    others.  during: makes it the reference for as long as it lasts.  policy: what is synced with.
    wants: what it is asked for, `logps`, or the `states` that a divergence is worked out from.
    weights: its own tensors, by the names of the policy's parameters.  every: steps between syncs; None for never.
    """

    module: nn.Module
    during: Callable[[], contextlib.AbstractContextManager[None]]
    policy: PackedModel
    wants: frozenset[str]
    weights: Mapping[str, Tensor]
    every: int | None
    _head: Head | None = field(init=False, default=None)

    def __call__(self, pack: PackTensors) -> tuple[dict[str, Tensor], ReferenceStates | None]:
        """The columns it gives for a pack, and its states where a divergence from them is wanted; no gradient."""
        with self.during(), without_gradient(self.module):
            out = self.module(pack, self.wants)
        columns = {"ref_logps": out["logps"]} if "logps" in out else {}
        return columns, ReferenceStates(out["states"], self.head) if "states" in out else None

    @property
    def head(self) -> Head:
        """Its output head, whole also where its weights are shards."""
        if self._head is None:
            head = lm_head(unwrap(self.module).inner)
            bias = None if head.bias is None else whole(head.bias).detach()
            self._head = head._replace(weight=whole(head.weight).detach(), bias=bias)
        return self._head

    @torch.no_grad()
    def sync(self, step: int) -> None:
        """Become the policy if it is time, before the optimizer makes step number `step` (from 1)."""
        if self.every is None or step % self.every:
            return
        now = dict(self.policy.named_parameters())
        for name, tensor in self.weights.items():
            tensor.copy_(now[name])
        self._head = None

    def state(self) -> dict[str, Tensor] | None:
        """What a checkpoint must hold of it, whole; None for one that never changes.  Every rank must call it."""
        if self.every is None:
            return None
        return {name: whole(tensor).detach().cpu().contiguous() for name, tensor in self.weights.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        assert self.weights.keys() == state.keys(), "a checkpoint of another reference"
        for name, tensor in self.weights.items():
            copy_whole(tensor, state[name])
        self._head = None


def check_reference(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError if there is no reference to sync."""
    if config.sync_reference_every is not None and not needs(objective) & {"ref_logps", "kl"}:
        raise UserError(
            f"sync_reference_every={config.sync_reference_every} has no effect: {objective.name} reads no reference; "
            "leave it out."
        )


def live_reference(context: Context, module: nn.Module) -> LiveReference | None:
    """The reference that this run keeps beside its policy, if it needs one, as it is before the first step.

    module: the policy as wrapped, still at its first weights.
    Raises UserError for a `reference=` that the policy cannot be compared with, or copied into.
    """
    config, policy = context.config, unwrap(module)
    read, every = needs(context.objective), config.sync_reference_every
    if not has_live_reference(config, context.objective):
        return None
    wants = frozenset(name for column, name in (("ref_logps", "logps"), ("kl", "states")) if column in read)
    if is_adapted(policy) and config.reference is None:
        if every is None:
            return LiveReference(module, policy.reference, policy, wants, {}, None)
        own = _parameters(policy, trained=True)
        weights = {name: parameter.detach().clone() for name, parameter in own.items()}
        return LiveReference(module, lambda: _exchanged(own, weights), policy, wants, weights, every)
    name = config.reference or config.model
    other = load_reference(context, name).model.requires_grad_(False)
    if every is not None and _shapes(other) != _shapes(policy):
        raise UserError(
            f"sync_reference_every={every} copies the policy into its reference, and reference={name} has other "
            f"weights than {'adapters on ' if is_adapted(policy) else ''}model={config.model}; leave reference out."
        )
    rows = [len(lm_head(model.inner).weight) for model in (other, policy)]
    if "kl" in read and rows[0] != rows[1]:
        raise UserError(
            f"{context.objective.name} compares whole distributions, and reference={name} gives {rows[0]} tokens a "
            f"probability where the policy gives {rows[1]}; name a reference of the same vocabulary."
        )
    wrapped = wrap(other, context.world) if context.world.engine == "fsdp2" else other
    return LiveReference(wrapped, contextlib.nullcontext, policy, wants, _parameters(other), every)


def _parameters(model: PackedModel, *, trained: bool = False) -> dict[str, nn.Parameter]:
    """The parameters that make a language model of it: all but a value head's; or those of them that learn."""
    named = {name: p for name, p in model.named_parameters() if not name.startswith(f"{VALUE_HEAD}.")}
    return {name: p for name, p in named.items() if p.requires_grad or not trained}


def _shapes(model: PackedModel) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in _parameters(model).items()}


@contextlib.contextmanager
def _exchanged(parameters: Mapping[str, nn.Parameter], others: Mapping[str, Tensor]) -> Iterator[None]:
    """While this lasts, the parameters have the others' values."""
    with torch.no_grad():
        kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.copy_(others[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(kept[name])
