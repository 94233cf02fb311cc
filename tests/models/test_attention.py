from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heedful.models import PackedModel, attention, to_tensors
from heedful.models.attention import TreeMask, Unsupported
from heedful.models.layout import Layout
from heedful.models.tree_sdpa import TreeAttention, pieces
from tests.fakes import tiny_model
from tests.models.packs import TREES, assert_same_gradients, gradients, make_pack

trees = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 9), min_size=1, max_size=4)), min_size=1)


def _dense(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
    """The formula, over the whole pack at once."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    seen = torch.block_diag(*[layout.visible(n, None).float() for n in range(len(layout.trees))]).bool()
    scores = (query @ key.transpose(2, 3) * scale).masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


def _random(layout: Layout, heads: int, key_heads: int) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    tokens = len(layout.positions)
    # As models hand them over: the head axis is a transposed view.
    return tuple(
        torch.randn(1, tokens, h, 8, dtype=torch.float64).transpose(1, 2).requires_grad_()
        for h in (heads, key_heads, key_heads)
    )


@given(trees)
@settings(deadline=None, max_examples=25)
def test_segment_by_segment_is_the_formula_in_value_and_gradient(shape: list):
    layout = to_tensors(make_pack(shape)).layout
    given = _random(layout, 4, 2)
    ours, wanted = TreeAttention.apply(*given, layout, 0.3), _dense(*given, layout, 0.3)
    assert torch.allclose(ours, wanted, atol=1e-12)
    weights = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad(ours, given, weights), torch.autograd.grad(wanted, given, weights), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-11)


@given(trees)
@settings(max_examples=25)
def test_pieces_hold_every_token_once(shape: list):
    layout = to_tensors(make_pack(shape)).layout
    covered = sorted(token for piece in pieces(layout) for token in range(piece.start, piece.end))
    assert covered == list(range(len(layout.positions)))


def _call(mask: TreeMask | Tensor | None, query: Tensor, **keywords: object) -> Tensor:
    module = torch.nn.Module()
    module.is_causal = True  # pyright: ignore[reportAttributeAccessIssue]
    return attention.attention(module, query, query, query, mask, **keywords)[0]


@pytest.mark.parametrize(
    ("keywords", "word"),
    [
        ({"s_aux": torch.zeros(2)}, "s_aux"),
        ({"position_bias": torch.zeros(1)}, "position_bias"),
        ({"dropout": 0.1}, "drops out"),
        ({"is_causal": False}, "both directions"),
    ],
)
def test_what_it_does_not_know_it_refuses(keywords: dict, word: str):
    layout = to_tensors(make_pack()).layout
    query = torch.randn(1, 2, len(layout.positions), 8)
    with pytest.raises(Unsupported, match=word):
        _call(TreeMask(layout, None), query, scaling=1.0, **keywords)
    assert _call(TreeMask(layout, None), query, scaling=1.0, s_aux=None, use_cache=False).shape == (1, 66, 2, 8)


def test_a_layer_that_lost_the_layout_is_refused():
    layout = to_tensors(make_pack()).layout
    with attention.packed(layout), pytest.raises(Unsupported, match="mask of its own"):
        _call(None, torch.randn(1, 2, len(layout.positions), 8))


@pytest.mark.parametrize("arch", ["llama", "gemma2", "mistral"])
def test_without_a_pack_it_is_plain_attention(arch: str):
    ids = torch.arange(2, 42).view(2, 20)
    mask = torch.ones(2, 20, dtype=torch.long)
    mask[1, :7] = 0
    model = tiny_model(arch)
    model.set_attn_implementation("eager")
    wanted = model(ids, attention_mask=mask).logits
    attention.register()
    model.set_attn_implementation(attention.NAME)
    got = model(ids, attention_mask=mask).logits
    assert torch.allclose(got[0], wanted[0], atol=1e-5)
    assert torch.allclose(got[1, 7:], wanted[1, 7:], atol=1e-5)
    # Decoding with a cache, too.
    first = model(ids[:1, :12], use_cache=True)
    rest = model(ids[:1, 12:13], past_key_values=first.past_key_values)
    assert torch.allclose(rest.logits[0, 0], wanted[0, 12], atol=1e-5)


@pytest.mark.parametrize("arch", ["llama", "gemma2"])
def test_two_packs_alive_at_once_under_gradient_checkpointing(arch: str):
    packs = [to_tensors(make_pack(seed=1)), to_tensors(make_pack([(9, (4, 30)), *TREES[:2]], seed=2))]

    def run(checkpointing: bool) -> dict[str, Tensor]:
        model = tiny_model(arch)
        attention.register()
        model.set_attn_implementation(attention.NAME)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
            assert model.is_activation_checkpointing
        packed = PackedModel(model)
        # Both forwards first: the recompute of the first happens when the second's layout came later.
        both = [packed(pack, {"logps"})["logps"] for pack in packs]
        return gradients(model, torch.cat(both), torch.linspace(-1, 1, sum(map(len, both))))

    assert_same_gradients(run(True), run(False), 1e-6)
