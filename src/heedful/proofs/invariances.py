"""Ways to compute one step that must come to the same loss and gradients.

Packed or padded, prompts shared or repeated, the vocabulary in slices, the step in parts, the batch reordered: tried on
a tiny model with the loop's own step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heedful.models.batch import to_tensors
from heedful.models.wrapper import PackedModel
from heedful.objectives.reduce import Objective
from heedful.proofs.stage import NUM_EXAMPLES, Stage
from heedful.proofs.verdict import Verdict, difference, largest, measured
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.packs import build_pack
from heedful.tokens.store import TokenStore
from heedful.training.batches import DataSource, PackBatch, StepBatch
from heedful.training.step import StepResult, StepRunner
from heedful.training.world import World
from heedful.types import Example, Message, Response

ONE_PACK = 1_000_000
"""Tokens that hold any step here."""

SMALL_CHUNK = 1024
"""Bytes of logits at once: a quarter of this vocabulary."""

ROWS = np.arange(NUM_EXAMPLES)
OTHER_ORDER = np.array([3, 1, 5, 0, 2, 4])
UNEVEN = (slice(0, 1), slice(1, 3), slice(3, 6))
"""Packs of unequal size: a mean of their means is not the step's."""


@dataclass(frozen=True)
class Gradients:
    """What one way to compute a step came to."""

    loss: float
    metrics: dict[str, float]
    parameters: dict[str, Tensor]


def compute(objective: Objective, stage: Stage, step: StepBatch, *, packed: bool = True) -> Gradients:
    """One step's loss, metrics, state and gradients, by the loop's own StepRunner."""
    model = stage.model(objective, packed=packed)
    model.zero_grad(set_to_none=True)
    world = World(0, 1, model.device, "single")
    result = StepRunner(objective, model, world, reference=stage.reference(objective, packed=packed))(step)
    return gradients_of(model, result)


def gradients_of(model: PackedModel, result: StepResult) -> Gradients:
    """What a step left in the model and gave back; of running state the sums."""
    state = {f"state {name}": float(value.sum()) for name, value in (result.state or {}).items()}
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return Gradients(result.loss, result.metrics | state, grads)


def distance(got: Gradients, wanted: Gradients) -> float:
    """The furthest that loss, metrics or a gradient are apart; gradients in units of the largest of them."""
    if got.metrics.keys() != wanted.metrics.keys() or got.parameters.keys() != wanted.parameters.keys():
        return float("nan")
    numbers = [
        difference(torch.tensor(a), torch.tensor(b))
        for a, b in [(got.loss, wanted.loss), *((got.metrics[name], wanted.metrics[name]) for name in wanted.metrics)]
    ]
    scale = largest(float(grad.abs().max()) for grad in wanted.parameters.values())
    apart = largest(float((got.parameters[name] - grad).abs().max()) for name, grad in wanted.parameters.items())
    return largest([*numbers, apart / scale if scale else apart])


def packing(objective: Objective, stage: Stage) -> Gradients:
    """Without packs: a padded batch, one row a response."""
    step = stage.source(objective).step(ROWS, ONE_PACK, 0, 1)
    return compute(objective, stage, step, packed=False)


def prefix_sharing(objective: Objective, stage: Stage) -> Gradients:
    """Every response behind a copy of its prompt."""
    source = stage.source(objective)
    step = source.step(ROWS, ONE_PACK, 0, 1)
    return compute(objective, stage, replace(step, packs=[unshared(stage, source, step.packs[0])]))


def chunking(objective: Objective, stage: Stage) -> Gradients:
    """Logits in smaller pieces."""
    with _chunks_of(stage.model(objective), SMALL_CHUNK):
        return compute(objective, stage, stage.source(objective).step(ROWS, ONE_PACK, 0, 1))


def accumulation(objective: Objective, stage: Stage) -> Gradients:
    """The step in packs of one, two and three prompts, and one that counts nothing; other answers in several too."""
    source = stage.source(objective)
    step = source.step(ROWS, int(source.store.example_lengths.max()), 0, 1)
    packs = [source.pack_batch(ROWS[rows], weight=1.0) for rows in UNEVEN]
    filler = source.pack_batch(ROWS[:1], weight=0.0)
    return compute(objective, stage, replace(step, packs=[*packs, filler]))


def order(objective: Objective, stage: Stage) -> Gradients:
    """The same examples in another order."""
    return compute(objective, stage, stage.source(objective).step(OTHER_ORDER, ONE_PACK, 0, 1))


WAYS: dict[str, tuple[Callable[[Objective, Stage], Gradients], str]] = {
    "packing": (packing, "when responses lie in a padded batch instead of a pack"),
    "prefix sharing": (prefix_sharing, "when every response has a copy of its prompt"),
    "chunking": (chunking, "when logits are worked out in smaller pieces"),
    "accumulation": (
        accumulation,
        "when a step is cut into several forwards; return a value for each unit instead of a mean over the batch, or "
        "mark it with @whole_step",
    ),
    "order": (order, "with the order of the examples in a batch"),
}
"""Name → another way to compute the step, and when results would change if it were not the same."""


def baseline(objective: Objective, stage: Stage) -> Gradients:
    """The step in one pack, in its order: what every other way is compared with."""
    return compute(objective, stage, stage.source(objective).step(ROWS, ONE_PACK, 0, 1))


def invariance(objective: Objective, name: str, wanted: Gradients, stage: Stage) -> Verdict:
    """The verdict on one way of `WAYS`, against the baseline."""
    way, when = WAYS[name]
    off = distance(way(objective, stage), wanted)
    return measured(off, stage.arithmetic.model_tolerance, f"its loss or gradient changes {when}")


def unshared(stage: Stage, source: DataSource, pack: PackBatch) -> PackBatch:
    """The same responses with the same columns, each behind a prompt of its own."""
    store, encoded = source.store, []
    for row in np.flatnonzero(~store.is_mismatched).tolist():
        piece = EncodedResponse(np.array(store.response_tokens(row)), np.array(store.response_trained(row)))
        encoded.append(EncodedExample(np.array(store.prompt_tokens(store.example_of(row))), [piece]))
    alone = Example([Message("user", "")], [Response([Message("assistant", "x")])])
    apart = TokenStore.write(stage.folder / f"{store.path.name}-unshared", encoded, [alone])
    return replace(pack, pack=to_tensors(build_pack(apart, np.arange(apart.num_examples)), stage.arithmetic.device))


@contextmanager
def _chunks_of(model: PackedModel, num_bytes: int) -> Iterator[None]:
    before, model.chunk_bytes = model.chunk_bytes, num_bytes
    try:
        yield
    finally:
        model.chunk_bytes = before
