"""How long a run would take on this machine: one pack of its first step, timed."""

from __future__ import annotations

import time

import torch

from heedful.models.batch import PackTensors, to_tensors
from heedful.objectives.trial import needs
from heedful.objectives.views import OUTPUTS
from heedful.tokens.packs import build_pack, pack_lengths
from heedful.tokens.planning import plan_packs
from heedful.training.context import Context, has_live_reference

TRIES = 3
"""The fastest of these counts: whatever else the machine does only slows them."""
PASSES = 3
"""A step's cost in forward passes: a backward costs about two."""


def seconds_of(context: Context) -> float:
    """The whole run's seconds, from the forward pass of one pack; its reference pass included."""
    lengths = pack_lengths(context.data.train)[0]
    rows = context.sampler.batch(0)
    pack_rows = rows[plan_packs(lengths[rows], context.tokens_per_pack, 1)[0][0]]
    pack = to_tensors(build_pack(context.data.train, pack_rows), context.world.device)
    # A divergence takes the states of another model, whose pass is counted below.
    wants = (needs(context.objective) & OUTPUTS) - {"kl"} or frozenset({"logps"})
    with torch.no_grad():
        context.loaded.model(pack, wants)  # the first call pays for allocations and compilation
        forward_s = min(_timed(context, pack, wants) for _ in range(TRIES))
    if has_live_reference(context.config, context.objective):
        passes = PASSES + 1.0
    else:
        passes = PASSES + ("ref_logps" in needs(context.objective)) / max(context.config.epochs, 1)
    tokens_a_step = float(lengths.mean()) * len(rows)
    per_token = forward_s / int(lengths[pack_rows].sum())
    return passes * per_token * tokens_a_step * context.sampler.num_steps / context.world.size


def _timed(context: Context, pack: PackTensors, wants: frozenset[str]) -> float:
    began = time.perf_counter()
    context.loaded.model(pack, wants)
    if context.world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
