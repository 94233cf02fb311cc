"""Log-probabilities of given tokens without a [tokens x vocabulary] matrix, in either pass.

The logits are worked out tile by tile (a block of rows, a slice of the vocabulary) in one reused buffer of
`chunk_bytes`, small enough to stay in cache, and again in the backward pass.  Slicing the vocabulary rather than only
the rows writes each row of the weight's gradient once and keeps both matrix products large.

For a row with logits l_j = c·tanh(s·(w_j·h + b_j)/c), without c just s·(w_j·h + b_j), and p = softmax(l):
    logp    = l_y - log Σ_j exp(l_j)          ∂logp/∂l_j    = [j = y] - p_j
    entropy = -Σ_j p_j log p_j                ∂entropy/∂l_j = -p_j (log p_j + entropy)
    sum_p2  = Σ_j p_j²                        ∂sum_p2/∂l_j  = 2 p_j (p_j - sum_p2)

Axes: `N` rows, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 2048
"""Rows of a tile: enough for full speed of the matrix products, few enough to leave the tile some width."""


class TokenStats(NamedTuple):
    """Per row, in nats and float32 (float64 for float64 inputs); what was not asked for is None."""

    logps: Float[Tensor, " N"]
    entropy: Float[Tensor, " N"] | None
    sum_p2: Float[Tensor, " N"] | None


class Head(NamedTuple):
    """How hidden states become logits: l = softcap(scale · (weight h + bias))."""

    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    softcap: float | None = None


def token_stats(
    hidden: Float[Tensor, "N D"],
    head: Head,
    targets: Int[Tensor, " N"],
    *,
    entropy: bool = False,
    sum_p2: bool = False,
    chunk_bytes: int | None = None,
) -> TokenStats:
    """Log-probability of each row's target and, if asked for, the entropy and Σp² of its distribution.

    hidden: the states that predict the targets; half precision is multiplied as it is and summed in float32.
    chunk_bytes: size of the buffer for logits; default 1 MiB on a CPU, 256 MiB on an accelerator.
    Gradients flow to hidden, head.weight and head.bias where those want them; none is computed for a frozen one.
    """
    if chunk_bytes is None:
        chunk_bytes = 2**20 if hidden.device.type == "cpu" else 2**28
    logps, ent, p2 = _TokenStats.apply(  # pyright: ignore[reportGeneralTypeIssues]
        hidden, head.weight, head.bias, targets, head.scale, head.softcap, entropy, sum_p2, chunk_bytes
    )
    return TokenStats(logps, ent if entropy else None, p2 if sum_p2 else None)


class _Tile(NamedTuple):
    rows: slice
    columns: slice


class _Logits:
    """Works out tiles of logits into one buffer."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None, chunk_bytes: int
    ):
        self.hidden, self.weight, self.bias, self.softcap = hidden, weight, bias, softcap
        self.scale = scale
        self.dtype = torch.promote_types(hidden.dtype, torch.float32)
        blocks = -(-len(hidden) // ROWS)
        self.rows = -(-len(hidden) // blocks) if blocks else 1
        self.columns = max(16, min(len(weight), chunk_bytes // (self.rows * self.dtype.itemsize)))
        self.buffer = hidden.new_empty(self.rows * self.columns, dtype=self.dtype)

    def tiles(self) -> Iterator[_Tile]:
        for top in range(0, len(self.hidden), self.rows):
            rows = slice(top, min(top + self.rows, len(self.hidden)))
            for left in range(0, len(self.weight), self.columns):
                yield _Tile(rows, slice(left, min(left + self.columns, len(self.weight))))

    def weights(self, tile: _Tile) -> Tensor:
        return self.weight[tile.columns].to(self.hidden.dtype)

    def __call__(self, tile: _Tile) -> Tensor:
        """The logits of a tile, in the buffer; the next call overwrites them."""
        h, w = self.hidden[tile.rows], self.weights(tile)
        out = self.buffer[: len(h) * len(w)].view(len(h), len(w))
        if h.dtype == self.dtype:
            torch.mm(h, w.T, out=out)
        else:
            out.copy_(h @ w.T)
        if self.bias is not None:
            out += self.bias[tile.columns]
        if self.scale != 1.0:
            out *= self.scale
        if self.softcap is not None:
            out.div_(self.softcap).tanh_().mul_(self.softcap)
        return out


class _TokenStats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        entropy: bool,
        sum_p2: bool,
        chunk_bytes: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits = _Logits(hidden, weight, bias, scale, softcap, chunk_bytes)
        sums = _RunningSums(len(hidden), logits.dtype, hidden.device, entropy, sum_p2)
        for tile in logits.tiles():
            sums.add(logits(tile), targets, tile)
        lse = sums.top + sums.exp.log()
        logps = sums.target - lse
        ent = sums.exp.log() - sums.exp_times / sums.exp
        p2 = sums.exp_squared / sums.exp.square()
        ctx.save_for_backward(hidden, weight, bias, targets, lse, ent, p2)
        ctx.settings = scale, softcap, entropy, sum_p2, chunk_bytes
        return logps, ent, p2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_logps, grad_entropy, grad_p2 = grads
        hidden, weight, bias, targets, lse, entropy, p2 = ctx.saved_tensors
        scale, softcap, wants_entropy, wants_p2, chunk_bytes = ctx.settings
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        logits = _Logits(hidden, weight, bias, scale, softcap, chunk_bytes)
        grad_hidden = torch.zeros_like(hidden, dtype=logits.dtype) if wants_hidden else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        grad_bias = torch.zeros_like(bias) if wants_bias else None
        for tile in logits.tiles():
            rows, columns = tile
            slopes = _slopes(
                logits(tile),
                lse[rows],
                (grad_logps[rows], targets[rows] - columns.start),
                (grad_entropy[rows], entropy[rows]) if wants_entropy else None,
                (grad_p2[rows], p2[rows]) if wants_p2 else None,
                softcap,
            )
            if scale != 1.0:
                slopes *= scale
            if grad_bias is not None:
                grad_bias[columns] += slopes.sum(0)
            slopes = slopes.to(hidden.dtype)
            if grad_hidden is not None:
                _add_product(grad_hidden[rows], slopes, logits.weights(tile))
            if grad_weight is not None:
                _add_product(grad_weight[columns], slopes.T, hidden[rows])
        grad_hidden = None if grad_hidden is None else grad_hidden.to(hidden.dtype)
        return grad_hidden, grad_weight, grad_bias, None, None, None, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


class _RunningSums:
    """Σ exp(l - top) and its kin over the tiles seen so far, `top` being the largest logit of the row so far."""

    def __init__(self, rows: int, dtype: torch.dtype, device: torch.device, entropy: bool, sum_p2: bool):
        def fill(value: float) -> Tensor:
            return torch.full((rows,), value, dtype=dtype, device=device)

        self.wants = entropy, sum_p2
        self.top, self.target = fill(float("-inf")), fill(0.0)
        self.exp, self.exp_times, self.exp_squared = fill(0.0), fill(0.0), fill(0.0)

    def add(self, logits: Tensor, targets: Tensor, tile: _Tile) -> None:
        rows, columns = tile
        column = targets[rows] - columns.start
        inside = (column >= 0) & (column < logits.shape[1])
        picked = logits.gather(1, column.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        self.target[rows] = torch.where(inside, picked, self.target[rows])

        old = self.top[rows]
        top = torch.maximum(old, logits.amax(1))
        shrink = torch.exp(old - top)
        entropy, sum_p2 = self.wants
        logits.sub_(top[:, None])
        if entropy:
            # exp_times rescales before exp does: Σ e^(l-t') (l-t') = shrink · (Σ e^(l-t) (l-t) + (t-t') Σ e^(l-t)).
            carried = torch.where(self.exp[rows] > 0, (old - top) * self.exp[rows], 0.0)
            self.exp_times[rows] = shrink * (self.exp_times[rows] + carried) + (logits.exp() * logits).sum(1)
        logits.exp_()
        self.exp[rows] = shrink * self.exp[rows] + logits.sum(1)
        if sum_p2:
            self.exp_squared[rows] = shrink.square() * self.exp_squared[rows] + logits.square_().sum(1)
        self.top[rows] = top


def _slopes(
    logits: Tensor,
    lse: Tensor,
    target: tuple[Tensor, Tensor],
    entropy: tuple[Tensor, Tensor] | None,
    p2: tuple[Tensor, Tensor] | None,
    softcap: float | None,
) -> Tensor:
    """dL/d(scaled, uncapped logits) of a tile, in place of its logits."""
    grad, column = target
    bend = None if softcap is None else 1 - (logits / softcap).square_()
    logits.sub_(lse[:, None])
    weight = -grad[:, None]
    if entropy is not None:
        weight = weight - entropy[0][:, None] * (logits + entropy[1][:, None])
    slopes = logits.exp_()
    if p2 is not None:
        weight = weight + 2 * p2[0][:, None] * (slopes - p2[1][:, None])
    slopes *= weight
    inside = ((column >= 0) & (column < slopes.shape[1])).nonzero()[:, 0]
    slopes[inside, column[inside]] += grad[inside]
    if bend is not None:
        slopes *= bend
    return slopes
