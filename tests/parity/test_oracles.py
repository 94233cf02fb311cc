"""Every objective against its oracle, value and gradient, in float64 to 1e-10."""

import ast
from pathlib import Path

import pytest

import heedful.proofs.oracles
from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective
from heedful.proofs.oracles import ORACLES
from heedful.proofs.parity import SEEDS, parity

CASES = [(name, i) for name, (_, settings) in ORACLES.items() for i in range(len(settings))]


def test_every_objective_has_an_oracle():
    assert set(REGISTRY) == {name.split()[0] for name in ORACLES}


@pytest.mark.parametrize("seed", list(SEEDS))
@pytest.mark.parametrize(("name", "case"), CASES)
def test_value_and_gradient(name: str, case: int, seed: int):
    oracle, cases = ORACLES[name]
    registered = name.split()[0]
    for verdict in parity(Objective(registered, REGISTRY[registered], cases[case]), oracle, seed):
        assert verdict.tolerance == 1e-10
        assert verdict.passed, verdict.problem


def test_oracles_share_nothing_with_objectives_but_the_batch():
    files = list(Path(heedful.proofs.oracles.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Import) or all(not name.name.startswith("heedful") for name in node.names)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("heedful"):
                own = str(node.module).startswith(("heedful.proofs.oracles", "heedful.proofs.batches"))
                assert own or (node.module, [name.name for name in node.names]) == (
                    "heedful.objectives.views",
                    ["Batch"],
                )


def test_a_wrong_sign_and_a_wrong_gradient_are_found():
    oracle, _ = ORACLES["dpo"]
    value, gradient = parity(Objective("ipo", REGISTRY["ipo"], {}), lambda b, s, c: oracle(b, s, {"beta": 0.1}), 0)
    assert "its loss is" in str(value.problem)
    assert "its gradient is not its oracle's" in str(gradient.problem)
