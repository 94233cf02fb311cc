"""Optimizers by name, their refusals, clipping, and a state that comes back bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from heedful.config import TrainConfig
from heedful.training.trainee import make_trainee, optimizer_arguments
from heedful.types import UserError


def config(**settings) -> TrainConfig:
    return TrainConfig.model_validate({"objective": "dpo", "model": "m", "data": "d", **settings})


def steps(module: nn.Module, trainee, number: int, first: int = 0) -> None:
    for step in range(first, first + number):
        trainee.optimizer.zero_grad()
        generator = torch.Generator().manual_seed(step)
        for p in trainee.parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        trainee.set_lr(step)
        trainee.optimizer.step()


@pytest.mark.parametrize("name", ["AdamW", "RMSprop", "SGD", "Adagrad", "Adafactor", "NAdam"])
def test_optimizer_state_comes_back_bit_for_bit(name: str):
    settings = config(optimizer=name, lr=0.01, schedule="cosine")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    start = {k: v.clone() for k, v in module.state_dict().items()}
    trainee = make_trainee("policy", module, settings, 10)
    steps(module, trainee, 7)
    unbroken = {k: v.clone() for k, v in module.state_dict().items()}

    module.load_state_dict(start)
    first = make_trainee("policy", module, settings, 10)
    steps(module, first, 4)
    tensors, numbers = first.optimizer_state()
    second = make_trainee("policy", module, settings, 10)
    second.load_optimizer_state({k: v.clone() for k, v in tensors.items()}, numbers)
    steps(module, second, 3, first=4)
    for key, value in module.state_dict().items():
        assert torch.equal(value, unbroken[key]), key


def test_matrices_decay_and_vectors_do_not():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    trainee = make_trainee("policy", module, config(weight_decay=0.1), 10)
    decays = {id(p): g["weight_decay"] for g in trainee.optimizer.param_groups for p in g["params"]}
    assert {n: decays[id(p)] for n, p in module.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }


def test_frozen_parameters_are_left_out():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    module[0].requires_grad_(False)
    trainee = make_trainee("policy", module, config(), 10)
    assert [tuple(p.shape) for p in trainee.parameters] == [(1, 4), (1,)]


def test_clipping_is_by_the_norm_of_all_parameters_together():
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    trainee = make_trainee("policy", module, config(max_grad_norm=1.0), 10)
    for parameter, value in zip(trainee.parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.full_like(parameter, value)
    norm = trainee.gradient_norm()
    assert norm == pytest.approx(5.0)  # √(3² + 4²)
    trainee.clip_gradient(norm)
    assert [p.grad.item() for p in trainee.parameters] == pytest.approx([0.6, 0.8], rel=1e-5)
    trainee.clip_gradient(trainee.gradient_norm())
    assert [p.grad.item() for p in trainee.parameters] == pytest.approx([0.6, 0.8], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimizer": "AdamWW"}, "torch.optim has none.*AdamW"),
        ({"optimizer": "LBFGS"}, "torch.optim has none"),
        ({"optimizer": "SGD", "betas": [0.9, 0.95]}, "SGD takes no betas"),
        ({"optimizer_args": {"momentun": 0.9}}, "takes no momentun"),
        ({"optimizer": "Rprop", "weight_decay": 0.1}, "has no weight decay"),
        ({"optimizer_args": {"lr": 5.0}}, "optimizer_args.lr cannot take effect.*lr="),
        ({"optimizer_args": {"weight_decay": 0.5}}, "optimizer_args.weight_decay cannot take effect"),
        ({"optimizer_args": {"params": 3}}, "optimizer_args.params cannot take effect"),
    ],
)
def test_what_an_optimizer_cannot_do_is_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        optimizer_arguments(config(**settings))


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "RMSprop", "optimizer_args": {"momentum": "much"}}, {"optimizer": "Muon"}],
    ids=["a text for a number", "a model it cannot train"],
)
def test_what_torch_refuses_is_a_sentence(settings):
    with pytest.raises(UserError, match=f"optimizer={settings['optimizer']} refuses its settings or this model"):
        make_trainee("policy", nn.Linear(3, 4), config(**settings), 10)


def test_another_kernel_than_the_fused_one_can_be_chosen():
    trainee = make_trainee("policy", nn.Linear(3, 4), config(optimizer_args={"foreach": True}), 10)
    assert trainee.optimizer.defaults["foreach"]
    assert not trainee.optimizer.defaults["fused"]
