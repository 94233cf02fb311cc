"""Laws that every objective of the namespace obeys."""

import math

import pytest
import torch

from heedful.objectives import REGISTRY
from heedful.objectives.reduce import Objective, loss_of, needs
from heedful.objectives.views import Batch, Pairs
from tests.objectives.batches import leaves, random_batch

NAMES = sorted(REGISTRY)
NOT_MONOTONE = ("discopop",)
"""Its authors show a dip at small negative margins, where it asks for less."""
LOWERS_THE_CHOSEN = ("apo_down",)
"""By design, where the chosen is likelier than under the reference; the rejected is lowered more."""


def objective(name: str) -> Objective:
    return Objective(name, REGISTRY[name], {})


def loss(name: str, batch: Batch) -> torch.Tensor:
    outcome = objective(name)(batch, {"z": torch.tensor(0.2, dtype=torch.float64)})
    return loss_of(outcome, {k: term.weight_sum for k, term in outcome.terms.items()})


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_the_start_and_at_extremes(name: str):
    for scale in (0.0, 1.0, 100.0, 1000.0):
        batch = random_batch(3)
        tokens = {k: (v.detach() * scale).requires_grad_(v.requires_grad) for k, v in batch.tokens.items()}
        rows = {k: v for k, v in batch.responses.items() if k != "scores"}
        rows["scores"] = (batch.responses["scores"].detach() * scale).requires_grad_()
        extreme = Batch(batch.lengths, batch.group_of, tokens, rows)
        value = loss(name, extreme)
        assert math.isfinite(value.item()), (name, scale)
        for grad in torch.autograd.grad(value, list(leaves(extreme).values()), allow_unused=True):
            assert grad is None or grad.isfinite().all(), (name, scale)


@pytest.mark.parametrize("name", NAMES)
def test_finite_when_policy_equals_reference(name: str):
    batch = random_batch(4)
    same = dict(batch.tokens, ref_logps=batch.tokens["logps"].detach().clone())
    equal = Batch(batch.lengths, batch.group_of, same, batch.responses)
    value = loss(name, equal)
    grads = torch.autograd.grad(value, list(leaves(equal).values()), allow_unused=True)
    assert math.isfinite(value.item())
    assert any(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(grad is None or grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_prompts_does_not_matter(name: str):
    batch = random_batch(5, sizes=(2, 2, 2, 2))
    rows = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])
    moved = batch.select(rows)
    moved = Batch(moved.lengths, torch.arange(4).repeat_interleave(2), moved.tokens, moved.responses)
    torch.testing.assert_close(loss(name, moved), loss(name, batch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if not objective(n).whole_step])  # those couple a step's examples
def test_two_parts_with_one_denominator_are_the_whole(name: str):
    """Splitting a step into packs changes nothing, because nothing is averaged twice."""
    batch = random_batch(6, sizes=(2, 2, 2, 2, 2))
    stats = {"z": torch.tensor(0.2, dtype=torch.float64)}
    whole = objective(name)(batch, stats)
    denominators = {k: term.weight_sum for k, term in whole.terms.items()}
    parts = [batch.select(torch.tensor(r)) for r in ([0, 1, 2, 3], [4, 5], [6, 7, 8, 9])]
    split = sum(loss_of(objective(name)(part, stats), denominators) for part in parts)
    torch.testing.assert_close(split, loss_of(whole, denominators), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if objective(n).view is Pairs and n not in NOT_MONOTONE])
def test_descent_raises_the_chosen_and_lowers_the_rejected(name: str):
    batch = random_batch(7)
    what = "scores" if "scores" in needs(objective(name)) else "logps"
    leaf = leaves(batch)[what]
    (grad,) = torch.autograd.grad(loss(name, batch), [leaf])
    chosen = batch.responses["chosen"] == 1
    if what == "logps":
        chosen = torch.repeat_interleave(chosen, batch.lengths)
    assert (grad[~chosen] >= 0).all()
    assert (grad[~chosen] > 0).any()
    if name not in LOWERS_THE_CHOSEN:
        assert (grad[chosen] <= 0).all()
        assert (grad[chosen] < 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_small_differences(name: str):
    batch = random_batch(8, sizes=(2, 2), most_tokens=3)
    read = [k for k in leaves(batch) if k in needs(objective(name))]

    def value(*columns: torch.Tensor) -> torch.Tensor:
        new = dict(zip(read, columns, strict=True))
        tokens = {k: new.get(k, v) for k, v in batch.tokens.items()}
        rows = {k: new.get(k, v) for k, v in batch.responses.items()}
        return loss(name, Batch(batch.lengths, batch.group_of, tokens, rows))

    assert torch.autograd.gradcheck(value, [leaves(batch)[k] for k in read])


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_detached_and_unreduced(name: str):
    outcome = objective(name)(random_batch(9), {"z": torch.tensor(0.2, dtype=torch.float64)})
    for metric, values in outcome.metrics.items():
        assert not values.requires_grad, metric
        assert values.ndim == 1, metric


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_what_every_setting_does(name: str):
    import inspect

    doc = inspect.getdoc(REGISTRY[name]) or ""
    for parameter in inspect.signature(REGISTRY[name]).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.name in doc, f"{name}: {parameter.name} is not explained"
