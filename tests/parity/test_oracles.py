"""Every objective against its oracle, value and gradient, in float64 to 1e-10."""

import pytest
import torch

from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective, loss_of
from tests.objectives.batches import leaves, random_batch
from tests.parity.oracles import ORACLES

RANKED = ("plackett_luce", "pro")
CASES = [(name, i) for name, (_, settings) in ORACLES.items() for i in range(len(settings))]


def test_every_objective_has_an_oracle():
    assert set(REGISTRY) == {name.split()[0] for name in ORACLES}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_value_and_gradient(name: str, case: int, seed: int):
    oracle, cases = ORACLES[name]
    settings = cases[case]
    stats = {"z": torch.tensor([-0.4, 0.0, 0.9][seed], dtype=torch.float64)}
    registered = name.split()[0]
    batch = random_batch(seed, sizes=(2, 3, 4, 2) if registered in RANKED else (2, 2, 2))
    outcome = Objective(registered, REGISTRY[registered], settings)(batch, stats)
    loss = loss_of(outcome, {k: term.weight_sum for k, term in outcome.terms.items()})
    expected = oracle(batch, stats, settings)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-10)
    inputs = list(leaves(batch).values())
    got = torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)
    want = torch.autograd.grad(expected, inputs, allow_unused=True)
    for leaf, a, b in zip(leaves(batch), got, want, strict=True):
        zero = torch.zeros_like(leaves(batch)[leaf])
        torch.testing.assert_close(zero if a is None else a, zero if b is None else b, rtol=1e-12, atol=1e-10, msg=leaf)
