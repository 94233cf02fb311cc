"""One step's gradient does not depend on how the step was cut: packs, micro-batches, one pass or two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from heedful.objectives import bind
from heedful.objectives.reduce import Objective, whole_step
from heedful.objectives.views import Pairs, Singles
from heedful.tokens.sampler import units_of
from heedful.training.batches import DataSource, StepBatch
from heedful.training.step import StepResult, StepRunner
from heedful.training.world import World
from tests.training.helpers import random_store, small_model, source_of

ALONE = World(0, 1, torch.device("cpu"), "single")
MODIFIED = {"wpo": True, "nll_weight": 0.5, "humanline": (-1.0, 1.5)}
OBJECTIVES: dict[str, tuple[str, dict]] = {
    "sft": ("sft", {}),
    "dpo": ("dpo", {}),
    "dpo modified": ("dpo", MODIFIED),
    "kto": ("kto", {}),
    "kto modified": ("kto", {"humanline": (-1.0, 1.5), "nll_weight": 0.5}),
    "reward": ("reward", {}),
}
"""Name of the case: objective and settings."""


@whole_step
def coupled(pairs: Pairs, *, beta: float = 0.1):
    """Each margin against the mean of the step's: a loss that packs alone cannot know."""
    margin = beta * pairs.margin
    return (margin - margin.mean() - 1.0) ** 2, {"margins": margin}


def source(tmp_path, name: str) -> DataSource:
    store = random_store(tmp_path / "store", mismatched=name == "kto")
    return source_of(store, mismatched=name == "kto")


def gradients(objective: Objective, model: nn.Module, step: StepBatch) -> tuple[StepResult, dict[str, torch.Tensor]]:
    model.zero_grad()
    result = StepRunner(objective, model, ALONE)(step)
    return result, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("case", OBJECTIVES)
def test_packs_change_nothing(tmp_path, case: str):
    name, settings = OBJECTIVES[case]
    data = source(tmp_path, name)
    model = small_model("score" if name == "reward" else "lm").double()
    rows = np.arange(data.store.num_examples)
    longest = int(data.store.example_lengths.max())
    one = gradients(bind(name, settings), model, data.step(rows, 10_000, 0, 1))
    step = data.step(rows, longest, 0, 1)
    assert len(step.packs) > 2
    many = gradients(bind(name, settings), model, step)
    assert one[0].loss == pytest.approx(many[0].loss, rel=1e-9)
    assert one[0].metrics == pytest.approx(many[0].metrics, rel=1e-9)
    assert one[1].keys() == many[1].keys()
    for parameter, grad in one[1].items():
        torch.testing.assert_close(grad, many[1][parameter], rtol=1e-7, atol=1e-10)


def test_order_within_a_batch_changes_nothing(tmp_path):
    data, model = source(tmp_path, "dpo"), small_model().double()
    one = gradients(bind("dpo", {}), model, data.step(np.arange(6), 100, 0, 1))
    other = gradients(bind("dpo", {}), model, data.step(np.array([3, 1, 5, 0, 2, 4]), 100, 0, 1))
    assert one[0].loss == pytest.approx(other[0].loss, rel=1e-9)
    for parameter, grad in one[1].items():
        torch.testing.assert_close(grad, other[1][parameter], rtol=1e-7, atol=1e-10)


def test_two_passes_give_the_gradient_of_one(tmp_path):
    data, model = source(tmp_path, "dpo"), small_model().double()
    rows = np.arange(6)
    objective = Objective("coupled", coupled, {"beta": 0.3})
    one = gradients(objective, model, data.step(rows, 10_000, 0, 1))
    step = data.step(rows, int(data.store.example_lengths.max()), 0, 1)
    assert len(step.packs) > 2
    two = gradients(objective, model, step)
    assert one[0].loss == pytest.approx(two[0].loss, rel=1e-9)
    for parameter, grad in one[1].items():
        torch.testing.assert_close(grad, two[1][parameter], rtol=1e-7, atol=1e-10)


def test_a_coupled_objective_is_what_a_plain_computation_gives(tmp_path):
    """The loop's two passes against autograd through everything at once."""
    data, model = source(tmp_path, "dpo"), small_model().double()
    step = data.step(np.arange(6), 10_000, 0, 1)
    result, grads = gradients(Objective("coupled", coupled, {"beta": 0.3}), model, step)
    model.zero_grad()
    out = model(step.packs[0].pack, {"logps"})
    values, _ = coupled(Pairs(step.packs[0].batch(out)), beta=0.3)
    values.mean().backward()
    assert result.loss == pytest.approx(values.mean().item(), rel=1e-9)
    for parameter, weight in model.named_parameters():
        torch.testing.assert_close(grads[parameter], weight.grad, rtol=1e-7, atol=1e-10)


def test_the_reference_point_is_the_mean_over_the_whole_step(tmp_path):
    data, model = source(tmp_path, "kto"), small_model().double()
    step = data.step(np.arange(6), int(data.store.example_lengths.max()), 0, 1)
    with torch.no_grad():
        ratios = [Singles(p.batch(model(p.pack, {"logps"}))).log_ratio for p in step.mismatched]
    assert sum(r.numel() for r in ratios) == 6
    z = max(0.0, torch.cat(ratios).mean().item())
    result, _ = gradients(bind("kto", {}), model, step)
    assert result.metrics["kl"] == pytest.approx(z, rel=1e-6)


def test_bounds_on_log_ratios_bound_the_reference_point_too(tmp_path):
    data, model = source(tmp_path, "kto"), small_model().double()
    step = data.step(np.arange(6), 10_000, 0, 1)
    with torch.no_grad():
        batch = step.mismatched[0].batch(model(step.mismatched[0].pack, {"logps"}))
    clamped = (batch.tokens["logps"] - batch.tokens["ref_logps"]).clamp(-0.1, 2.0)
    result, _ = gradients(bind("kto", {"humanline": (-0.1, 2.0)}), model, step)
    z = max(0.0, torch.stack([part.sum() for part in clamped.split(batch.lengths.tolist())]).mean().item())
    assert result.metrics["kl"] == pytest.approx(z, rel=1e-6)
    assert z != pytest.approx(gradients(bind("kto", {}), model, step)[0].metrics["kl"], rel=1e-3)


def test_mismatched_answers_are_not_trained_on(tmp_path):
    data = source(tmp_path, "kto")
    step = data.step(np.arange(6), 10_000, 0, 1)
    assert step.packs[0].lengths.numel() == 12
    assert step.mismatched[0].lengths.numel() == 6
    without = source_of(random_store(tmp_path / "other", mismatched=False), mismatched=False)
    assert step.num_tokens < data.store.example_lengths.sum()
    assert without.step(np.arange(6), 10_000, 0, 1).mismatched == []


def test_a_filler_pack_counts_nothing(tmp_path):
    data, model = source(tmp_path, "dpo"), small_model().double()
    step = data.step(np.arange(6), 10_000, 0, 1)
    filler = data.pack_batch(np.array([2]), weight=0.0)
    with_filler = StepBatch([*step.packs, filler], [], step.rows, step.num_tokens, step.num_trained, step.fill)
    one, other = gradients(bind("dpo", {}), model, step), gradients(bind("dpo", {}), model, with_filler)
    assert one[0] == other[0]
    for parameter, grad in one[1].items():
        torch.testing.assert_close(grad, other[1][parameter], rtol=0, atol=1e-15)


def test_evaluation_is_the_training_loss_without_gradients(tmp_path):
    data, model = source(tmp_path, "kto"), small_model().double()
    trained = StepRunner(bind("kto", {}), model, ALONE)(data.step(np.arange(6), 10_000, 0, 1))
    model.zero_grad()
    evaluated = StepRunner(bind("kto", {}), model, ALONE)(data.whole(40, 0, 1), train=False)
    assert evaluated.loss == pytest.approx(trained.loss, rel=1e-9)
    assert all(p.grad is None for p in model.parameters())


def test_ranks_share_a_step_without_overlap(tmp_path):
    data = source(tmp_path, "dpo")
    rows = np.array([0, 1, 2, 3, 4])
    shares = [data.step(rows, 60, rank, 3) for rank in range(3)]
    assert len({len(share.packs) for share in shares}) == 1
    real = [pack for share in shares for pack in share.packs if pack.weight]
    assert sum(pack.lengths.numel() for pack in real) == 10
    assert len({share.fill for share in shares}) == 1


def test_what_a_batch_counts(tmp_path):
    store = random_store(tmp_path / "store", mismatched=True)
    assert units_of(store, "prompts").tolist() == [1] * 6
    assert units_of(store, "responses").tolist() == [2] * 6  # not the mismatched answer
    lengths = [
        len(store.prompt_tokens(e)) + sum(len(store.response_tokens(3 * e + k)) for k in (0, 1)) for e in range(6)
    ]
    assert units_of(store, "tokens").tolist() == lengths
