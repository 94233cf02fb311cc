from __future__ import annotations

import pytest
import torch

from heedful.models import attention, flex, to_tensors
from heedful.models.flex import block_mask
from tests.models.packs import make_pack


def test_a_response_sees_its_prompt_and_itself():
    layout = to_tensors(make_pack([(2, (2, 1))])).layout
    # Tokens: p p a a b.  b sees p p b, never a.
    expected = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert layout.visible(0, None).int().tolist() == expected


def test_a_window_counts_positions_not_places_in_the_pack():
    layout = to_tensors(make_pack([(2, (2, 1))])).layout
    # b stands at position 2, right after the prompt: a window of 2 holds the prompt's last token and b.
    assert layout.visible(0, 2).int().tolist()[4] == [0, 1, 0, 0, 1]
    assert layout.visible(0, 2).int().tolist()[3] == [0, 0, 1, 1, 0]


def test_longest_is_the_longest_path():
    assert to_tensors(make_pack([(5, (2, 7)), (9, (1,))])).layout.longest == 12


def test_responses_must_follow_their_prompt_without_a_gap():
    pack = make_pack([(2, (2, 1))])
    pack.response_starts[1] += 1
    with pytest.raises(AssertionError, match="gap"):
        to_tensors(pack)


@pytest.mark.parametrize("window", [None, 4])
def test_the_block_mask_of_flex_attention_shows_what_the_layout_shows(window: int | None):
    layout = to_tensors(make_pack()).layout
    mask = block_mask(layout, window)
    tokens = len(layout.positions)
    seen = torch.block_diag(*[layout.visible(n, window).float() for n in range(len(layout.trees))]).bool()
    rows, columns = torch.arange(tokens)[:, None], torch.arange(tokens)[None]
    assert torch.equal(mask.mask_mod(torch.tensor(0), torch.tensor(0), rows, columns), seen)
    assert block_mask(layout, window) is mask, "worked out once per pack"


@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile.*")
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 4])
def test_flex_attention_gives_what_dense_attention_gives(window: int | None, softcap: float | None, monkeypatch):
    from torch.nn.attention.flex_attention import flex_attention

    # Uncompiled, since compiling needs a compiler and a minute; the masks and caps are the same.
    monkeypatch.setattr(flex, "_compiled", lambda: flex_attention)
    layout = to_tensors(make_pack()).layout
    tokens = len(layout.positions)
    query, key, value = (torch.randn(1, heads, tokens, 16) for heads in (4, 2, 2))
    wanted = torch.cat(
        [
            attention._plain(
                query[:, :, tree.start : tree.end],
                key[:, :, tree.start : tree.end],
                value[:, :, tree.start : tree.end],
                layout.visible(number, window),
                0.3,
                softcap,
            )
            for number, tree in enumerate(layout.trees)
        ],
        1,
    )
    with torch.no_grad():
        got = flex.attend(query, key, value, layout, window, 0.3, softcap)
    assert torch.allclose(got, wanted, atol=1e-5)
