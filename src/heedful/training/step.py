"""One optimizer step's gradients: packs in, one loss out, divided once over all packs and ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heedful.maths import wide
from heedful.objectives.reduce import Objective, Outcome, loss_of
from heedful.objectives.trial import needs
from heedful.objectives.views import OUTPUTS, TOKEN_COLUMNS, Batch, Singles
from heedful.training.batches import PackBatch, StepBatch
from heedful.training.engine import without_gradient
from heedful.training.live_reference import LiveReference
from heedful.training.world import World


@dataclass(frozen=True)
class StepResult:
    """What a step came to, over all packs and ranks."""

    loss: float
    terms: dict[str, float]
    metrics: dict[str, float]
    state: dict[str, Tensor] | None


class StepRunner:
    """Runs an objective over the packs of a step.

    module: the (wrapped) PackedModel; seed_forward: called with the pack's number before every forward, so that what is
    random in it (a model's own code, a user's objective) is the same in both passes and after a resume.
    reference: the one that runs beside the policy, if there is one.
    """

    def __init__(
        self,
        objective: Objective,
        module: nn.Module,
        world: World,
        seed_forward: Callable[[int], None] = lambda pack: None,
        reference: LiveReference | None = None,
    ) -> None:
        self.objective, self.module, self.world, self.seed_forward = objective, module, world, seed_forward
        self.reference = reference
        self.wants = needs(objective) & OUTPUTS
        self.live = frozenset() if reference is None else needs(objective) & {"ref_logps"}

    def __call__(self, step: StepBatch, state: dict[str, Tensor] | None = None, *, train: bool = True) -> StepResult:
        """Gradients of the whole step's loss into the module's parameters (none if not `train`)."""
        if not train:
            with without_gradient(self.module):
                return self._run(step, state, train=False)
        return self._run(step, state, train=True)

    def _outputs(self, pack: PackBatch) -> dict[str, Tensor]:
        """What the policy gives for a pack, and beside it a live reference."""
        if self.reference is None:
            return self.module(pack.pack, self.wants)
        columns, states = self.reference(pack.pack)
        return {**self.module(pack.pack, self.wants, states), **columns}

    def _run(self, step: StepBatch, state: dict[str, Tensor] | None, *, train: bool) -> StepResult:
        stats = self._statistics(step.mismatched) if self.objective.statistics else {}
        if self.objective.whole_step:
            return self._whole_step(step.packs, stats, state, train)
        return self._pack_by_pack(step.packs, stats, train)

    def _statistics(self, packs: list[PackBatch]) -> dict[str, Tensor]:
        """Mean of each declared statistic over the mismatched answers of all packs and ranks; no gradient."""
        functions = self.objective.statistics
        sums = wide(torch.zeros(len(functions) + 1, device=self.world.device))
        with without_gradient(self.module):
            for index, pack in enumerate(packs):
                self.seed_forward(index)
                view = Singles(self.objective.seen(pack.batch(self._outputs(pack))))
                values = [wide(function(view)).sum() for function in functions.values()]
                sums += pack.weight * torch.stack([*values, values[0].new_tensor(float(pack.lengths.numel()))])
        sums = self.world.sum(sums)
        return {name: (sums[i] / sums[-1]).float() for i, name in enumerate(functions)}

    def _pack_by_pack(self, packs: list[PackBatch], stats: dict[str, Tensor], train: bool) -> StepResult:
        """One pass: each pack's share of the loss is propagated as soon as it is known."""
        denominators = self._denominators(packs, stats)
        sums: dict[str, Tensor] = {}
        for index, pack in enumerate(packs):
            last = index == len(packs) - 1
            self.seed_forward(index)
            with self._sync(train and last):
                outcome = self.objective(pack.batch(self._outputs(pack)), stats)
                loss = loss_of(outcome, denominators) * pack.weight
                if train:
                    # DDP and FSDP2 average gradients over ranks; the denominators are already the whole step's.
                    (loss * self.world.size).backward()
            _accumulate(sums, outcome, pack.weight)
        return self._result(sums, denominators, None)

    def _denominators(self, packs: list[PackBatch], stats: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each term's Σ w over the step, counted on blank outputs before any forward."""
        totals: dict[str, Tensor] = {}
        with torch.no_grad():
            for pack in packs:
                outcome = self.objective(pack.batch(pack.blank(self.wants | self.live)), stats)
                for name, term in outcome.terms.items():
                    totals[name] = totals.get(name, torch.zeros_like(term.weight_sum)) + pack.weight * term.weight_sum
        summed = self.world.sum(torch.stack(list(totals.values())))
        return dict(zip(totals, summed, strict=True))

    def _whole_step(
        self, packs: list[PackBatch], stats: dict[str, Tensor], state: dict[str, Tensor] | None, train: bool
    ) -> StepResult:
        """Two passes: outputs of all packs, the loss on all of them at once, then dL/d(output) carried back."""
        one_pass = train and len(packs) == 1
        outputs = []
        with contextlib.nullcontext() if one_pass else without_gradient(self.module):
            for index, pack in enumerate(packs):
                self.seed_forward(index)
                outputs.append(self._outputs(pack))
        mine = [_record(pack, out) for pack, out in zip(packs, outputs, strict=True)]
        everyone = self.world.gather(mine)
        real = [record for records in everyone for record in records if record["weight"]]
        batch, leaves = _join(real, self.world.device, self.wants)
        with torch.enable_grad():
            outcome = self.objective(batch, stats, state)
            denominators = outcome.weight_sums
            loss = loss_of(outcome, denominators)
        if train:
            names = list(leaves)
            grads = torch.autograd.grad(loss, [leaves[n] for n in names], allow_unused=True)
            self._carry_back(packs, outputs if one_pass else None, everyone, dict(zip(names, grads, strict=True)))
        sums: dict[str, Tensor] = {}
        _accumulate(sums, outcome, 1.0 / self.world.size)
        return self._result(sums, denominators, outcome.state if outcome.state is not None else state)

    def _carry_back(
        self,
        packs: list[PackBatch],
        outputs: list[dict[str, Tensor]] | None,
        everyone: list[list[dict[str, Any]]],
        grads: Mapping[str, Tensor | None],
    ) -> None:
        """Second pass: backward of Σ output·dL/doutput, for this rank's packs."""
        before = [r for records in everyone[: self.world.rank] for r in records if r["weight"]]
        token, response = sum(int(r["lengths"].sum()) for r in before), sum(r["lengths"].numel() for r in before)
        for index, pack in enumerate(packs):
            self.seed_forward(index)
            with self._sync(index == len(packs) - 1):
                out = outputs[index] if outputs else self._outputs(pack)
                carried = sum(value.sum() * 0.0 for value in out.values())
                if pack.weight:
                    for name, grad in grads.items():
                        if grad is not None:
                            at = token if name in TOKEN_COLUMNS else response
                            carried = carried + (out[name] * grad[at : at + out[name].numel()]).sum()
                    token, response = token + int(pack.lengths.sum()), response + pack.lengths.numel()
                (carried * self.world.size).backward()  # type: ignore[union-attr]

    def _sync(self, wanted: bool) -> contextlib.AbstractContextManager:
        """Reduce gradients over ranks only with the last pack of a step."""
        if self.world.engine == "fsdp2":
            self.module.set_requires_gradient_sync(wanted)  # type: ignore[operator]
        elif self.world.engine == "ddp" and not wanted:
            return self.module.no_sync()  # type: ignore[operator]
        return contextlib.nullcontext()

    def _result(
        self, sums: dict[str, Tensor], denominators: dict[str, Tensor], state: dict[str, Tensor] | None
    ) -> StepResult:
        total = dict(zip(sums, self.world.sum(torch.stack(list(sums.values()))).tolist(), strict=True))
        terms = {name: total[f"term:{name}"] / max(float(d), 1e-30) for name, d in denominators.items()}
        metrics = {
            name[4:]: total[name] / total[f"num:{name[4:]}"]
            for name in total
            if name.startswith("sum:") and total[f"num:{name[4:]}"] > 0
        }
        return StepResult(sum(terms.values()), terms, metrics, state)


def _accumulate(sums: dict[str, Tensor], outcome: Outcome, weight: float) -> None:
    """Add one outcome's numerators and metrics, in double precision, to the step's."""
    parts = {f"term:{name}": term.numerator.detach() for name, term in outcome.terms.items()}
    for name, values in outcome.metrics.items():
        parts[f"sum:{name}"] = wide(values).sum()
        parts[f"num:{name}"] = torch.tensor(float(values.numel()), device=values.device)
    for name, value in parts.items():
        sums[name] = sums.get(name, 0.0) + weight * wide(value)


def _record(pack: PackBatch, outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """One pack's batch as plain CPU tensors, to be shown to every rank."""
    batch = pack.batch({name: value.detach() for name, value in outputs.items()})
    return {
        "weight": pack.weight,
        "lengths": batch.lengths.cpu(),
        "group_of": batch.group_of.cpu(),
        "tokens": {k: v.cpu() for k, v in batch.tokens.items()},
        "responses": {k: v.cpu() for k, v in batch.responses.items()},
    }


def _join(
    records: list[dict[str, Any]], device: torch.device, wants: frozenset[str]
) -> tuple[Batch, dict[str, Tensor]]:
    """All packs as one batch whose model outputs are leaves."""
    groups, first = [], 0
    for record in records:
        groups.append(record["group_of"] + first)
        first = int(groups[-1][-1]) + 1

    def column(kind: str, name: str) -> Tensor:
        joined = torch.cat([record[kind][name] for record in records]).to(device)
        return joined.requires_grad_() if name in wants else joined

    tokens = {name: column("tokens", name) for name in records[0]["tokens"]}
    responses = {name: column("responses", name) for name in records[0]["responses"]}
    lengths = torch.cat([record["lengths"] for record in records]).to(device)
    leaves = {name: value for name, value in {**tokens, **responses}.items() if name in wants}
    return Batch(lengths, torch.cat(groups).to(device), tokens, responses), leaves
