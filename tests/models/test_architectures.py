"""The packed forward against the plain one, per architecture, in value and gradient."""

from __future__ import annotations

import pytest
import torch

from heedful.models import PackedModel, attention, to_tensors
from tests.fakes import ARCHES, STUBBORN, tiny_model
from tests.models.packs import InDouble, assert_same_gradients, gradients, make_pack, plain_logps, plain_scores


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("arch", [*ARCHES, "cohere", "granite"])
def test_packed_is_plain(arch: str, dtype: torch.dtype):
    model, pack = tiny_model(arch, dtype=dtype), make_pack()
    if dtype == torch.float64:
        with InDouble():
            _compare(model, pack, packed=True, tolerance=1e-9)
    else:
        _compare(model, pack, packed=True, tolerance=1e-5)


@pytest.mark.parametrize("arch", ["llama", "gemma2", "gpt2", "opt", *STUBBORN])
def test_padded_is_plain(arch: str):
    _compare(tiny_model(arch), make_pack(), packed=False, tolerance=1e-5)


def _compare(model, pack, *, packed: bool, tolerance: float) -> None:
    if packed:
        model.set_attn_implementation("eager")
    wanted = plain_logps(model, pack)
    weights = torch.linspace(-1, 1, len(wanted), dtype=wanted.dtype)
    theirs = gradients(model, wanted, weights)
    if packed:
        attention.register()
        model.set_attn_implementation(attention.NAME)
    got = PackedModel(model, packed=packed)(to_tensors(pack), {"logps"})["logps"]
    assert got.shape == wanted.shape
    assert float((got - wanted).detach().abs().max()) <= tolerance
    assert_same_gradients(gradients(model, got, weights), theirs, tolerance)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gpt_neox", "opt", "gemma2", "mistral"])
def test_scores_are_those_of_the_plain_classifier(arch: str):
    model, pack = tiny_model(arch, score=True), make_pack()
    model.set_attn_implementation("eager")
    wanted = plain_scores(model, pack)
    weights = torch.linspace(-1, 1, len(wanted))
    theirs = gradients(model, wanted, weights)
    attention.register()
    model.set_attn_implementation(attention.NAME)
    got = PackedModel(model)(to_tensors(pack), {"scores"})["scores"]
    assert torch.allclose(got, wanted, atol=1e-5)
    assert_same_gradients(gradients(model, got, weights), theirs, 1e-5)
