from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from heedful.models import PackedModel, attention, to_tensors
from heedful.models.logprobs import Head, ReferenceStates, token_stats
from tests.fakes import tiny_model
from tests.models.packs import make_pack


def test_by_hand():
    # Logits of the one row: w·h = (ln 1, ln 2, ln 5), so p = (1/8, 2/8, 5/8).
    weight = torch.tensor([[math.log(1.0)], [math.log(2.0)], [math.log(5.0)]])
    stats = token_stats(torch.ones(1, 1), Head(weight), torch.tensor([2]), entropy=True, sum_p2=True)
    p = [1 / 8, 2 / 8, 5 / 8]
    assert stats.logps.item() == pytest.approx(math.log(5 / 8))
    assert stats.entropy is not None
    assert stats.entropy.item() == pytest.approx(-sum(x * math.log(x) for x in p))
    assert stats.sum_p2 is not None
    assert stats.sum_p2.item() == pytest.approx(30 / 64)
    assert stats.kl is None


def test_the_divergence_by_hand():
    # p = (1/8, 2/8, 5/8) against q = (2/8, 2/8, 4/8): 1/8·ln(1/2) + 0 + 5/8·ln(5/4)
    weight = torch.tensor([[math.log(1.0)], [math.log(2.0)], [math.log(5.0)]], requires_grad=True)
    other = torch.tensor([[math.log(2.0)], [math.log(2.0)], [math.log(4.0)]])
    reference = ReferenceStates(torch.ones(1, 1), Head(other))
    kl = token_stats(torch.ones(1, 1), Head(weight), torch.tensor([2]), reference=reference).kl
    assert kl is not None
    wanted = math.log(1 / 2) / 8 + 5 * math.log(5 / 4) / 8
    assert kl.item() == pytest.approx(wanted, abs=1e-6)
    kl.sum().backward()
    # p·(log p/q - KL): the first token's log p/q is ln(1/2)
    assert weight.grad is not None
    assert weight.grad[0].item() == pytest.approx((math.log(1 / 2) - wanted) / 8, abs=1e-6)


def test_no_divergence_from_itself():
    hidden, weight, shift, targets = _case(True)
    head = Head(weight, shift, 0.7, 3.0)
    itself = ReferenceStates(hidden.detach(), Head(weight.detach(), shift, 0.7, 3.0))
    kl = token_stats(hidden, head, targets, reference=itself, chunk_bytes=1).kl
    assert kl is not None
    assert kl.tolist() == [0.0] * len(kl)
    assert all((grad == 0).all() for grad in torch.autograd.grad(kl.sum(), [hidden, weight]))


def _case(bias: bool, rows: int = 13) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(rows, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(37, 6, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(37, dtype=torch.float64, requires_grad=True) if bias else None
    return hidden, weight, shift, torch.randint(0, 37, (rows,))


def _reference() -> ReferenceStates:
    """A reference of another width, with a bias, a scale and a soft-cap of its own."""
    torch.manual_seed(1)
    head = Head(torch.randn(37, 4, dtype=torch.float64), torch.randn(37, dtype=torch.float64), 1.1, 2.0)
    return ReferenceStates(torch.randn(13, 4, dtype=torch.float64), head)


def _logps(hidden: Tensor, head: Head) -> Tensor:
    logits = head.scale * torch.nn.functional.linear(hidden, head.weight, head.bias)
    if head.softcap:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits.log_softmax(-1)


def _plain(hidden: Tensor, head: Head, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    logps, reference = _logps(hidden, head), _logps(*_reference())
    p = logps.exp()
    kl = (p * (logps - reference)).sum(-1)
    return logps.gather(1, targets[:, None])[:, 0], -(p * logps).sum(-1), p.square().sum(-1), kl


@pytest.mark.parametrize("chunk_bytes", [1, 13 * 16 * 8, 2**20], ids=["narrowest", "uneven", "one tile"])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
def test_tiles_are_the_whole_in_value_and_gradient(bias: bool, softcap: float | None, chunk_bytes: int, monkeypatch):
    monkeypatch.setattr("heedful.models.logprobs.ROWS", 5)
    hidden, weight, shift, targets = _case(bias)
    head = Head(weight, shift, 0.7, softcap)
    ours = token_stats(
        hidden, head, targets, entropy=True, sum_p2=True, reference=_reference(), chunk_bytes=chunk_bytes
    )
    wanted = _plain(hidden, head, targets)
    given = [x for x in (hidden, weight, shift) if x is not None]
    weights = [torch.randn(13, dtype=torch.float64) for _ in range(3)]
    for mine, theirs in zip(ours, wanted, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(_with_gradient(ours), given, weights),
        torch.autograd.grad(_with_gradient(wanted), given, weights),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-11)


def _with_gradient(stats) -> list[Tensor]:
    logps, entropy, _, kl = stats
    return [logps, entropy, kl]


def test_collisions_have_no_gradient():
    hidden, weight, _, targets = _case(False)
    stats = token_stats(hidden, Head(weight), targets, sum_p2=True)
    assert stats.logps.requires_grad
    assert stats.sum_p2 is not None
    assert not stats.sum_p2.requires_grad


@pytest.mark.parametrize("bias", [False, True])
def test_gradcheck(bias: bool, monkeypatch):
    monkeypatch.setattr("heedful.models.logprobs.ROWS", 3)
    hidden, weight, shift, targets = _case(bias, rows=4)
    states, other = _reference()
    reference = ReferenceStates(states[:4], other)

    def stats(hidden: Tensor, weight: Tensor, shift: Tensor | None) -> tuple[Tensor, ...]:
        head = Head(weight, shift, 1.3, 5.0)
        found = token_stats(hidden, head, targets, entropy=True, reference=reference, chunk_bytes=1)
        return tuple(_with_gradient(found))

    assert torch.autograd.gradcheck(stats, (hidden, weight, shift))


def test_what_is_not_asked_for_is_none_and_changes_nothing():
    hidden, weight, _, targets = _case(False)
    alone = token_stats(hidden, Head(weight), targets)
    assert alone.entropy is None
    assert alone.sum_p2 is None
    every = token_stats(hidden, Head(weight), targets, entropy=True, sum_p2=True, reference=_reference())
    assert torch.equal(alone.logps, every.logps)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_extremes_stay_finite_and_exact(scale: float):
    hidden, weight, _, targets = _case(False)
    head = Head((weight * scale).detach().requires_grad_())
    ours = token_stats(hidden, head, targets, entropy=True, sum_p2=True, reference=_reference(), chunk_bytes=1)
    for mine, theirs in zip(ours, _plain(hidden, head, targets), strict=True):
        assert torch.isfinite(mine).all()
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_half_precision_is_summed_in_float32():
    hidden, weight, _, targets = _case(False)
    stats = token_stats(hidden.detach().bfloat16().requires_grad_(), Head(weight.float()), targets, entropy=True)
    wanted = _plain(hidden, Head(weight), targets)
    assert stats.logps.dtype == torch.float32
    assert torch.allclose(stats.logps.double(), wanted[0], atol=0.1)


def test_a_frozen_weight_gets_no_gradient_work():
    hidden, weight, _, targets = _case(False)
    with _Largest() as seen:
        token_stats(hidden, Head(weight.detach()), targets).logps.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None
    with _Largest() as with_weight:
        token_stats(hidden, Head(weight), targets).logps.sum().backward()
    assert weight.grad is not None
    assert seen.products < with_weight.products


def test_no_rows():
    _, weight, _, _ = _case(False)
    nothing = torch.zeros(0, 6, dtype=torch.float64)
    reference = ReferenceStates(nothing, Head(weight))
    stats = token_stats(nothing, Head(weight), torch.zeros(0, dtype=torch.long), reference=reference)
    assert stats.logps.shape == (0,)
    assert stats.kl is not None
    assert stats.kl.shape == (0,)


class _Largest(TorchDispatchMode):
    """Watches every operation: the size of the largest result, and how many matrix products there are."""

    def __init__(self) -> None:
        super().__init__()
        self.numel, self.products = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.products += "mm" in func.__name__
        for result in out if isinstance(out, tuple | list) else [out]:
            if isinstance(result, Tensor):
                self.numel = max(self.numel, result.numel())
        return out


@pytest.mark.parametrize("wants", [{"logps"}, {"logps", "entropy", "sum_p2", "kl"}], ids=["logps", "everything"])
@pytest.mark.parametrize("frozen", [False, True])
def test_no_tensor_of_tokens_times_vocabulary_in_either_pass(wants: set[str], frozen: bool):
    vocabulary = 4096
    attention.register()
    model = tiny_model("llama", vocabulary)
    model.set_attn_implementation(attention.NAME)
    pack = to_tensors(make_pack([(20, (180, 190)), (30, (170, 160))], vocab_size=vocabulary))
    if frozen:
        model.lm_head.requires_grad_(False)
    packed = PackedModel(model)
    with _Largest() as seen:
        reference = None
        if "kl" in wants:
            with torch.no_grad():
                reference = ReferenceStates(packed(pack, {"states"})["states"], Head(model.lm_head.weight * 0.9))
        out = packed(pack, wants, reference)
        sum(value.sum() for value in out.values()).backward()
    # 700 trained tokens: the forbidden matrix has 2.9 million entries.  Largest allowed: a tile of 1 MiB (262,144
    # entries) or the weight itself (131,072).
    assert seen.numel <= 2**18
    assert seen.numel < len(pack.targets) * vocabulary / 10
