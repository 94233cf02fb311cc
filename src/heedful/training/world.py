"""The processes of a run: started by torchrun, `accelerate launch` or srun, or one process alone."""

from __future__ import annotations

import atexit
import datetime
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from heedful.types import RunError, UserError


@dataclass(frozen=True)
class World:
    """Who this process is among the processes of the run, and how they add things up."""

    rank: int
    size: int
    device: torch.device
    engine: str

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    @property
    def distributed(self) -> bool:
        """Whether there is a process group."""
        return self.engine != "single"

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, on every rank."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0) if self.size > 1 else flag

    def gather(self, thing: Any) -> list[Any]:
        """Everyone's `thing`, in rank order, on every rank (small Python objects and arrays)."""
        if self.size == 1:
            return [thing]
        things: list[Any] = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def broadcast(self, thing: Any) -> Any:
        """The main process's `thing`, on every rank."""
        if self.size == 1:
            return thing
        box = [thing]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            dist.barrier()


def launched() -> tuple[int, int, int]:
    """(rank, world size, local rank) as the launcher tells it through the environment.

    Raises UserError where srun started several tasks but nobody said where they meet.
    """
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", 0))
    if int(env.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in env:
        if "MASTER_ADDR" not in env:
            raise UserError(
                "srun started several tasks but MASTER_ADDR is not set: export MASTER_ADDR (the first host's name) "
                "and MASTER_PORT before srun, or start with torchrun."
            )
        env.setdefault("MASTER_PORT", "29500")
        env["RANK"], env["WORLD_SIZE"] = env["SLURM_PROCID"], env["SLURM_NTASKS"]
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("SLURM_LOCALID", 0))
    return 0, 1, 0


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; anything else is taken as it is, and must be there.

    Raises UserError if the wanted device is not on this machine.
    """
    if wanted in ("cuda", "auto") and torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"Process {local_rank} of this machine has no GPU of its own: there are {torch.cuda.device_count()}; "
                "start one process a GPU."
            )
        return torch.device("cuda", local_rank)
    if wanted in ("mps", "auto") and torch.backends.mps.is_available():
        return torch.device("mps")
    if wanted in ("cuda", "mps"):
        raise UserError(f"device={wanted}: this machine has none that PyTorch can use; say device=cpu or device=auto.")
    return torch.device("cpu" if wanted == "auto" else wanted)


def start(engine: str, device: str, world_size: int | None, timeout_s: float = 1800.0) -> World:
    """Join the run's processes.

    engine: `auto` is `single` for one process and `ddp` for several.
    world_size: how many processes the run was planned for; None takes what the launcher started.

    Raises UserError if the launcher started another number than planned, or engine=single several.
    """
    rank, size, local_rank = launched()
    if world_size is not None and world_size != size:
        raise UserError(
            f"This run is for {world_size} process{'es' if world_size > 1 else ''} but {size} "
            f"{'were' if size > 1 else 'was'} started: "
            f"use torchrun --nproc-per-node {world_size} -m heedful …, or give another world_size in a new run folder."
        )
    if engine == "single" and size > 1:
        raise UserError(f"engine=single, but {size} processes were started; say engine=ddp or engine=fsdp2.")
    where = choose_device(device, local_rank)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    engine = ("single" if size == 1 else "ddp") if engine == "auto" else engine
    if engine != "single" and not dist.is_initialized():
        # Kept until the process ends: a second group on the launcher's store would wait for ever, and several runs
        # may follow one another in the same processes.
        atexit.register(dist.destroy_process_group)
        backend = "nccl" if where.type == "cuda" else "gloo"
        if size == 1:
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        else:
            dist.init_process_group(backend, timeout=datetime.timedelta(seconds=timeout_s))
        assert dist.get_world_size() == size, "the process group has another size than the launcher said"
    return World(rank, size, where, engine)


def lost_process(world: World, error: BaseException, last_checkpoint: str) -> RunError | None:
    """The sentence for an error that means another process of the run is gone; None for any other error."""
    signs = ("closed by peer", "gloo", "nccl", "timed out", "store")
    if world.size == 1 or not any(sign in str(error).lower() for sign in signs):
        return None
    return RunError(f"Another process of this run ended or stopped answering ({error}).  {last_checkpoint}")
