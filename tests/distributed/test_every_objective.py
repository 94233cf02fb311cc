"""One step of every objective on two processes against one: the same loss, metrics, state and gradients."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from heedful.objectives import REGISTRY
from heedful.proofs.verdict import EXACT
from tests.end_to_end.runs import environment

pytestmark = [pytest.mark.slow, pytest.mark.processes]

WORKER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from heedful.objectives import REGISTRY, plain
from heedful.objectives.trial import needs
from heedful.proofs.invariances import ROWS, baseline, distance, gradients_of
from heedful.proofs.stage import Stage, tiny_model
from heedful.proofs.verdict import EXACT
from heedful.training.engine import unwrap, wrap
from heedful.training.step import StepRunner
from heedful.training.world import start

world = start("ddp", "cpu", 2)
stage = Stage(Path(sys.argv[1]) / str(world.rank), EXACT)
found = {}
for name in REGISTRY:
    objective = plain(name)
    wanted = baseline(objective, stage)
    read, source = needs(objective), stage.source(objective)
    heads = {name: name in read for name in ("scores", "values", "foretold")}
    module = wrap(tiny_model(EXACT, **heads), world)
    step = source.step(ROWS, int(source.store.example_lengths.max()), world.rank, 2)
    runner = StepRunner(objective, module, world, reference=stage.reference(objective))
    found[name] = [distance(gradients_of(unwrap(module), runner(step)), wanted), len(step.packs)]
everyone = world.gather(found)
if world.is_main:
    print(json.dumps(everyone))
"""


@pytest.fixture(scope="module")
def distances(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[float, int]]]:
    """For each process and objective: how far it was from one process, and in how many packs."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "worker.py").write_text(WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, "worker.py", str(folder)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_two_processes_are_one(name: str, distances: list[dict[str, tuple[float, int]]]) -> None:
    for rank in distances:
        distance, num_packs = rank[name]
        assert num_packs > 1
        assert distance <= EXACT.model_tolerance
