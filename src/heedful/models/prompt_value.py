"""V(prompt): attention pooling over the hidden states of a text, on a frozen language model.

    u = multi-head attention of one learnt query over X, padding masked       X (L, D): states after the last norm
    V = low + (high - low)·σ(w·u + b)

Baheti et al. 2024, arXiv:2305.14718, sec. 3; there the padding is attended to and dropout stays on in use.
Axes: `B` texts, `L` tokens of the longest, `D` width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from heedful.models.heads import trunk_of
from heedful.models.wrapper import PackedModel

MAX_HEADS = 8
DROPOUT = 0.1
TOKENS_AT_ONCE = 8192


class PromptValueHead(nn.Module):
    """The head; its first output is `start` for every text.

    width: D.  low, high: between which V lies; low < high.
    """

    def __init__(self, width: int, low: float, high: float, start: float):
        super().__init__()
        assert low < high
        self.low, self.high = low, high
        heads = next(n for n in range(MAX_HEADS, 0, -1) if width % n == 0)
        self.query = nn.Parameter(torch.randn(width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(width, 1)
        share = min(max((start - low) / (high - low), 0.01), 0.99)
        with torch.no_grad():
            self.out.weight.zero_()
            self.out.bias.fill_(math.log(share / (1 - share)))

    def forward(self, states: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, " B"]:
        """V of each text.  mask: true where there is a token."""
        states = self.dropout(states)
        query = self.query.expand(len(states), 1, -1)
        pooled, _ = self.attention(query, states, states, key_padding_mask=~mask, need_weights=False)
        return self.low + (self.high - self.low) * torch.sigmoid(self.out(self.dropout(pooled[:, 0]))[:, 0])


def padded(texts: Sequence[Float[Tensor, "l D"]]) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
    """States of several texts side by side, and where they are."""
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(texts), batch_first=True), mask


def hidden_states(model: PackedModel, texts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Float[Tensor, "l D"]]]:
    """(index, final hidden states in float32) of each text's tokens, texts of equal length together: nothing is padded.

    They come in the order of their lengths.
    """
    trunk, device = trunk_of(model.inner), model.device
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for length, group in groupby(order, key=lambda i: len(texts[i])):
        members, size = list(group), max(1, TOKENS_AT_ONCE // length)
        for start in range(0, len(members), size):
            part = members[start : start + size]
            with torch.inference_mode():
                ids = torch.tensor([list(texts[i]) for i in part], device=device)
                states = trunk(input_ids=ids, use_cache=False)[0].float()
            yield from zip(part, states.clone(), strict=True)
