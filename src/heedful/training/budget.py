"""How many tokens go into one forward: chosen from memory once, then frozen in config.yaml."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import psutil
import torch

from heedful.types import RunError

CPU_TOKENS, GPU_TOKENS = 4096, 32768
"""Packs beyond these gain no speed: on a CPU they only leave the cache, on a GPU the kernels are already full."""

WEIGHT_BYTES, TRAINED_BYTES = 4, 12
"""Of a parameter in fp32: itself; and where it is trained, its gradient and two moments besides."""


def free_memory_bytes(device: torch.device) -> int:
    """Memory that this process can still get on the device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = (psutil.virtual_memory().available, _below_process_limit(), _below_container_limit())
    return max(0, min(limit for limit in limits if limit is not None))


def _below_process_limit() -> int | None:
    """Address space left under `ulimit -v`; None without a limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms


def _below_container_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory left to a container or batch job (cgroup v2), which sees the whole machine's otherwise; None if unlimited.

    Files in the page cache count as used there, but give way.
    """
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - int(used) + int(stat.get("inactive_file", 0))


def bytes_per_token(config: Any, checkpointing: bool) -> int:
    """Activations that one token keeps for the backward pass, in bytes (fp32), estimated from the model's shape.

    Per layer about 10 vectors of the model's width and 4 of the feed-forward's; with gradient checkpointing the
    layer's input only, and everything of the one layer that is being recomputed.
    """
    width = int(getattr(config, "hidden_size", 768))
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    layers = int(getattr(config, "num_hidden_layers", 12))
    whole = 10 * width + 4 * inner
    kept = layers * width + whole if checkpointing else layers * whole
    return 4 * (kept + 14 * width)


def state_bytes(num_parameters: int, num_trained: int) -> int:
    """Memory of the weights and of what an optimizer with two moments adds to those it trains."""
    return WEIGHT_BYTES * num_parameters + TRAINED_BYTES * num_trained


def choose_tokens_per_pack(
    longest: int, state: int, model_config: Any, device: torch.device, world: int, *, checkpointing: bool
) -> int:
    """The largest useful budget that takes at most half of the memory left after weights and optimizer.

    longest: tokens of the longest example, which must fit.  state: `state_bytes` of the run.  world: processes that
    share this machine's memory when it is the CPU's.
    """
    free = free_memory_bytes(device) // (world if device.type == "cpu" else 1)
    room = max(0, free - state) // 2
    affordable = room // bytes_per_token(model_config, checkpointing)
    cap = GPU_TOKENS if device.type == "cuda" else CPU_TOKENS
    return max(longest, min(cap, affordable // 128 * 128))


def out_of_memory(error: BaseException, longest_pack: int, longest_example: int) -> RunError | None:
    """The sentence for an error that means memory ran out, with a budget that would fit; None for any other error."""
    text = str(error)
    known = isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator: can't allocate" in text
    if not known:
        return None
    half = max(longest_example, longest_pack // 2)
    if half < longest_pack:
        advice = f"set tokens_per_pack={half} (packs had up to {longest_pack} tokens)"
    else:
        advice = (
            f"the longest example alone has {longest_example} tokens: set gradient_checkpointing=true, "
            f"or max_length={longest_example // 2}"
        )
    return RunError(f"Out of memory: {advice}, in a new run folder.")
