"""One wrapped module under DDP and FSDP2: two processes give what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heedful.models import load_policy, to_tensors
from tests.fakes import save_tiny_model
from tests.models.packs import TREES, make_pack

ROOT = Path(__file__).parents[2]
SHAPES = (TREES, ((9, (4, 30)), (2, (5,))))
WANTS = {"logps", "entropy"}


def losses_and_weights(folder: str, engine: str, rank: int, world: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Two SGD steps on the two packs (shared between the processes), the loss a sum over both."""
    from torch.distributed.fsdp import fully_shard

    loaded = load_policy(folder, gradient_checkpointing=True, lora={"r": 4} if engine.endswith("lora") else None)
    model: torch.nn.Module = loaded.model
    if engine.startswith("fsdp2"):
        for layer in loaded.model.layers:
            fully_shard(layer)
        model = fully_shard(model)
    elif engine.startswith("ddp"):
        model = torch.nn.parallel.DistributedDataParallel(model)
    packs = [to_tensors(make_pack(shape, vocab_size=300, seed=n)) for n, shape in enumerate(SHAPES)]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(2):
        total = torch.zeros(())
        optimizer.zero_grad()
        for pack in packs[rank::world]:
            out = model(pack, WANTS)
            loss = -(out["logps"].sum() + 0.1 * out["entropy"].sum()) / 60
            total += loss.detach()
            (loss * world).backward()  # DDP and FSDP2 take the mean over processes.
        if world > 1:
            torch.distributed.all_reduce(total)
        losses.append(total.item())
        optimizer.step()
    if engine.endswith("lora"):
        with loaded.model.reference(), torch.no_grad():
            losses.append(float(model(packs[0], WANTS)["logps"].sum()))
    state = loaded.model.state_dict()
    whole = {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in state.items()}
    return losses, {name: tensor.detach() for name, tensor in whole.items()}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("engine", "tied"), [("ddp", False), ("fsdp2", True), ("fsdp2", False), ("ddp-lora", True), ("fsdp2-lora", False)]
)
def test_two_processes_give_what_one_does(engine: str, tied: bool, tmp_path: Path):
    folder = save_tiny_model(tmp_path / "m", tie_word_embeddings=tied)
    out = tmp_path / "two.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", __file__, str(folder), engine, str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, weights = torch.load(out, weights_only=True)
    alone = "single-lora" if engine.endswith("lora") else "single"
    wanted, wanted_weights = losses_and_weights(str(folder), alone, 0, 1)
    assert losses == pytest.approx(wanted, rel=1e-5)
    assert losses[1] < losses[0]
    assert weights.keys() == wanted_weights.keys()
    for name, tensor in wanted_weights.items():
        assert torch.allclose(weights[name], tensor, atol=1e-5), name


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    rank, (folder, engine, out) = torch.distributed.get_rank(), sys.argv[1:]
    result = losses_and_weights(folder, engine, rank, 2)
    if rank == 0:
        torch.save(result, out)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
