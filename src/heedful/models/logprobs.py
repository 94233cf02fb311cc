"""Log-probabilities of given tokens without a [tokens x vocabulary] matrix, in either pass.

The logits are worked out tile by tile (a block of rows, a slice of the vocabulary) in one reused buffer of
`chunk_bytes`, small enough to stay in cache, and again in the backward pass.  Slicing the vocabulary rather than only
the rows writes each row of the weight's gradient once and keeps both matrix products large.

For a row with logits l_j = c·tanh(s·(w_j·h + b_j)/c), without c just s·(w_j·h + b_j), and p = softmax(l):
    logp    = l_y - log Σ_j exp(l_j)          ∂logp/∂l_j    = [j = y] - p_j
    entropy = -Σ_j p_j log p_j                ∂entropy/∂l_j = -p_j (log p_j + entropy)
    sum_p2  = Σ_j p_j²                        without gradient
    kl      = Σ_j p_j (log p_j - log q_j)     ∂kl/∂l_j      = p_j (log p_j - log q_j - kl)
where q is the reference's distribution; with its logits m_j, log p_j - log q_j - kl = l_j - m_j - Σ_i p_i (l_i - m_i).

Axes: `N` rows, `D` width of the model, `R` width of the reference, `V` vocabulary.
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
    kl: Float[Tensor, " N"] | None


class Head(NamedTuple):
    """How hidden states become logits: l = softcap(scale · (weight h + bias))."""

    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    softcap: float | None = None


class ReferenceStates(NamedTuple):
    """What the reference model makes its distributions of, at the same rows; no gradient reaches it."""

    hidden: Float[Tensor, "N R"]
    head: Head


def token_stats(
    hidden: Float[Tensor, "N D"],
    head: Head,
    targets: Int[Tensor, " N"],
    *,
    entropy: bool = False,
    sum_p2: bool = False,
    reference: ReferenceStates | None = None,
    chunk_bytes: int | None = None,
) -> TokenStats:
    """Log-probability of each row's target and, if asked for, the entropy and Σp² of its distribution.

    hidden: the states that predict the targets; half precision is multiplied as it is and summed in float32.
    reference: gives the divergence from this model too, whose vocabulary must have as many rows.
    chunk_bytes: size of the buffer for logits; default 1 MiB on a CPU, 256 MiB on an accelerator.
    Gradients flow to hidden, head.weight and head.bias where those want them; none is computed for a frozen one.
    """
    if chunk_bytes is None:
        chunk_bytes = 2**20 if hidden.device.type == "cpu" else 2**28
    assert reference is None or len(reference.head.weight) == len(head.weight), "two vocabularies"
    wants = _Wants(entropy, sum_p2, reference)
    logps, ent, p2, kl = _TokenStats.apply(  # pyright: ignore[reportGeneralTypeIssues]
        hidden, head.weight, head.bias, targets, head.scale, head.softcap, wants, chunk_bytes
    )
    return TokenStats(logps, ent if entropy else None, p2 if sum_p2 else None, None if reference is None else kl)


class _Wants(NamedTuple):
    """What to work out beside the log-probabilities; the divergence from `reference`, if there is one."""

    entropy: bool
    sum_p2: bool
    reference: ReferenceStates | None


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
        wants: _Wants,
        chunk_bytes: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = _Logits(hidden, weight, bias, scale, softcap, chunk_bytes)
        others = _reference_logits(wants, chunk_bytes)
        sums = _RunningSums(len(hidden), logits.dtype, hidden.device, wants)
        for tile in logits.tiles():
            sums.add(logits(tile), None if others is None else others(tile), targets, tile)
        lse = sums.top + sums.exp.log()
        logps = sums.target - lse
        ent = sums.exp.log() - sums.exp_times / sums.exp
        p2 = sums.exp_squared / sums.exp.square()
        gap = sums.exp_gap / sums.exp
        kl = gap + (sums.other_top + sums.other_exp.log() - lse)
        ctx.mark_non_differentiable(p2)
        ctx.save_for_backward(hidden, weight, bias, targets, lse, ent, gap)
        ctx.settings = scale, softcap, wants, chunk_bytes
        return logps, ent, p2, kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_logps, grad_entropy, _, grad_kl = grads
        hidden, weight, bias, targets, lse, entropy, gap = ctx.saved_tensors
        scale, softcap, wants, chunk_bytes = ctx.settings
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        logits = _Logits(hidden, weight, bias, scale, softcap, chunk_bytes)
        others = _reference_logits(wants, chunk_bytes)
        grad_hidden = torch.zeros_like(hidden, dtype=logits.dtype) if wants_hidden else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        grad_bias = torch.zeros_like(bias) if wants_bias else None
        for tile in logits.tiles():
            rows, columns = tile
            slopes = _slopes(
                logits(tile),
                lse[rows],
                (grad_logps[rows], targets[rows] - columns.start),
                (grad_entropy[rows], entropy[rows]) if wants.entropy else None,
                (grad_kl[rows], gap[rows], others(tile)) if others is not None else None,
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
        return grad_hidden, grad_weight, grad_bias, None, None, None, None, None


def _reference_logits(wants: _Wants, chunk_bytes: int) -> _Logits | None:
    if wants.reference is None:
        return None
    hidden, head = wants.reference
    return _Logits(hidden.detach(), head.weight.detach(), head.bias, head.scale, head.softcap, chunk_bytes)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


class _RunningSums:
    """Σ exp(l - top) and its kin over the tiles seen so far, `top` being the largest logit of the row so far.

    exp_gap is Σ exp(l - top)·(l - m) for the reference's logits m; other_top and other_exp are those of m itself.
    """

    def __init__(self, rows: int, dtype: torch.dtype, device: torch.device, wants: _Wants):
        def fill(value: float) -> Tensor:
            return torch.full((rows,), value, dtype=dtype, device=device)

        self.wants = wants
        self.top, self.target = fill(float("-inf")), fill(0.0)
        self.exp, self.exp_times, self.exp_squared = fill(0.0), fill(0.0), fill(0.0)
        self.exp_gap, self.other_top, self.other_exp = fill(0.0), fill(float("-inf")), fill(0.0)

    def add(self, logits: Tensor, others: Tensor | None, targets: Tensor, tile: _Tile) -> None:
        rows, columns = tile
        column = targets[rows] - columns.start
        inside = (column >= 0) & (column < logits.shape[1])
        picked = logits.gather(1, column.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        self.target[rows] = torch.where(inside, picked, self.target[rows])

        old = self.top[rows]
        top = torch.maximum(old, logits.amax(1))
        shrink = torch.exp(old - top)
        gap = None if others is None else self._gap(logits, others, rows)
        logits.sub_(top[:, None])
        if self.wants.entropy:
            # exp_times rescales before exp does: Σ e^(l-t') (l-t') = shrink · (Σ e^(l-t) (l-t) + (t-t') Σ e^(l-t)).
            carried = torch.where(self.exp[rows] > 0, (old - top) * self.exp[rows], 0.0)
            self.exp_times[rows] = shrink * (self.exp_times[rows] + carried) + (logits.exp() * logits).sum(1)
        logits.exp_()
        self.exp[rows] = shrink * self.exp[rows] + logits.sum(1)
        if gap is not None:
            self.exp_gap[rows] = shrink * self.exp_gap[rows] + gap.mul_(logits).sum(1)
        if self.wants.sum_p2:
            self.exp_squared[rows] = shrink.square() * self.exp_squared[rows] + logits.square_().sum(1)
        self.top[rows] = top

    def _gap(self, logits: Tensor, others: Tensor, rows: slice) -> Tensor:
        """Count the reference's logits and give l - m, in their place."""
        old = self.other_top[rows]
        top = torch.maximum(old, others.amax(1))
        self.other_exp[rows] = torch.exp(old - top) * self.other_exp[rows] + (others - top[:, None]).exp_().sum(1)
        self.other_top[rows] = top
        return torch.sub(logits, others, out=others)


def _slopes(
    logits: Tensor,
    lse: Tensor,
    target: tuple[Tensor, Tensor],
    entropy: tuple[Tensor, Tensor] | None,
    kl: tuple[Tensor, Tensor, Tensor] | None,
    softcap: float | None,
) -> Tensor:
    """dL/d(scaled, uncapped logits) of a tile, in place of its logits."""
    grad, column = target
    bend = None if softcap is None else 1 - (logits / softcap).square_()
    weight = -grad[:, None]
    if kl is not None:
        grad_kl, mean, others = kl
        gap = torch.sub(logits, others, out=others)
        weight = gap.sub_(mean[:, None]).mul_(grad_kl[:, None]).add_(weight)
    logits.sub_(lse[:, None])
    if entropy is not None:
        weight = weight - entropy[0][:, None] * (logits + entropy[1][:, None])
    slopes = logits.exp_()
    slopes *= weight
    inside = ((column >= 0) & (column < slopes.shape[1])).nonzero()[:, 0]
    slopes[inside, column[inside]] += grad[inside]
    if bend is not None:
        slopes *= bend
    return slopes
