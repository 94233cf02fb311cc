"""One step of every objective, computed in every way, comes to the same; what does not is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from heedful.objectives import REGISTRY, plain
from heedful.objectives.reduce import Objective, whole_step
from heedful.objectives.views import Pairs, Singles
from heedful.proofs import invariances
from heedful.proofs.invariances import WAYS, Gradients, baseline, distance, invariance
from heedful.proofs.stage import Stage
from heedful.proofs.verdict import EXACT, Arithmetic


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"), EXACT)


CASES: list[tuple[str, dict[str, object]]] = [(name, dict(plain(name).settings)) for name in sorted(REGISTRY)]
CASES += [
    ("a_lol_kl", {"kl": "full"}),  # beside a live reference
    ("ppo_offline", {"kl": "full", "reward": "column"}),
    ("dpo", {"wpo": True, "nll_weight": 0.5, "humanline": (-1.0, 1.5)}),
    ("kto", {"humanline": (-1.0, 1.5)}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_way_comes_to_the_same(name: str, settings: dict[str, object], stage: Stage) -> None:
    objective = Objective(name, REGISTRY[name], settings)
    wanted = baseline(objective, stage)
    assert any(grad.abs().max() > 0 for grad in wanted.parameters.values())
    for way in WAYS:
        verdict = invariance(objective, way, wanted, stage)
        assert verdict.passed, (way, verdict.deviation)


def test_every_way_is_another_computation(stage: Stage) -> None:
    """Each differs from the baseline in the last bits, or lies differently: none compares a thing with itself."""
    objective = Objective("sft", REGISTRY["sft"], {})
    wanted = baseline(objective, stage)
    for way in WAYS:
        assert (invariance(objective, way, wanted, stage).deviation or 0) > 0, way


def mean_of_the_batch(pairs: Pairs):
    return -F.logsigmoid(pairs.margin).mean().reshape(1)


@whole_step
def by_position(singles: Singles):
    return singles.seq_logps * torch.arange(1, len(singles.lengths) + 1)


def by_number_of_packs(pairs: Pairs):
    return (pairs.margin - pairs.margin.mean().detach()) ** 2


@pytest.mark.parametrize(
    ("function", "ways"),
    [
        (mean_of_the_batch, ["accumulation"]),
        (by_number_of_packs, ["accumulation"]),
        (by_position, ["order"]),
    ],
)
def test_an_objective_that_depends_on_how_a_step_is_cut_is_found(function, ways: list[str], stage: Stage) -> None:
    objective = Objective("mine", function, {})
    wanted = baseline(objective, stage)
    assert [way for way in WAYS if not invariance(objective, way, wanted, stage).passed] == ways


def test_a_model_that_confuses_prompts_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts that are shared with the wrong response, and answers that see one another, come to other numbers."""
    objective = Objective("dpo", REGISTRY["dpo"], {})
    wanted = baseline(objective, stage)
    build = invariances.build_pack
    monkeypatch.setattr(invariances, "build_pack", lambda store, rows: build(store, rows[[1, 0, *range(2, len(rows))]]))
    assert not invariance(objective, "prefix sharing", wanted, stage).passed


def test_distances_see_losses_metrics_and_gradients() -> None:
    def of(loss: float = 1.0, metric: float = 2.0, grad: float = 3.0) -> Gradients:
        return Gradients(loss, {"m": metric}, {"w": torch.tensor([grad, 10.0])})

    assert distance(of(), of()) == 0.0
    # off by a half: of 1, of 2 (relative), and of the largest gradient, 10
    assert distance(of(loss=1.5), of()) == 0.5
    assert distance(of(metric=2.5), of()) == 0.25
    assert distance(of(grad=3.5), of()) == 0.05
    assert distance(of(loss=float("nan")), of()) != distance(of(), of())
    assert str(distance(Gradients(1.0, {}, {}), of())) == "nan"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["kto_simple", "pro", "reward"])
def test_in_the_arithmetic_of_a_run(name: str, precision, tmp_path: Path) -> None:
    objective, stage = Objective(name, REGISTRY[name], {}), Stage(tmp_path, Arithmetic(precision))
    wanted = baseline(objective, stage)
    assert all(invariance(objective, way, wanted, stage).passed for way in WAYS)
