"""Small random batches for trying objectives on: every column present, gradients on what a model would give."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.views import Batch

DOUBLE = torch.float64


def random_batch(seed: int = 0, *, sizes: tuple[int, ...] = (2, 2, 2), most_tokens: int = 6) -> Batch:
    """One group of responses for each of `sizes`, in float64; the first of a group is the chosen, desirable one."""
    generator = torch.Generator().manual_seed(seed)
    num = sum(sizes)

    def normal(n: int) -> Tensor:
        return torch.randn(n, generator=generator, dtype=DOUBLE)

    lengths = torch.randint(1, most_tokens + 1, (num,), generator=generator)
    tokens = int(lengths.sum())
    first = torch.cat([torch.tensor([1.0] + [0.0] * (size - 1), dtype=DOUBLE) for size in sizes])
    ranks = torch.cat([torch.arange(1, size + 1, dtype=DOUBLE) for size in sizes])
    group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Batch(
        lengths,
        group,
        {
            "logps": (-normal(tokens).abs() - 0.01).requires_grad_(),
            "ref_logps": -normal(tokens).abs() - 0.01,
            "entropy": normal(tokens).abs().requires_grad_(),
            "values": normal(tokens).requires_grad_(),
            "kl": normal(tokens).abs().requires_grad_(),
            "sum_p2": torch.sigmoid(normal(tokens)),
            "foretold": (-torch.sigmoid(normal(tokens))).requires_grad_(),
            "token_scores": torch.rand(tokens, generator=generator, dtype=DOUBLE),
        },
        {
            "scores": normal(num).requires_grad_(),
            "reward": normal(num),
            "cost": normal(num),
            "desirable": first.clone(),
            "chosen": first,
            "safe": first.clone(),
            "rank": ranks,
            "weight": torch.ones(num, dtype=DOUBLE),
            "margin": normal(len(sizes)).abs()[group],
            "value": normal(len(sizes))[group] - 0.5,
            "prompt_desirability": torch.rand(len(sizes), generator=generator, dtype=DOUBLE)[group],
        },
    )


def leaves(batch: Batch) -> dict[str, Tensor]:
    """The columns that carry gradients."""
    return {k: v for k, v in {**batch.tokens, **batch.responses}.items() if v.requires_grad}


def replaced(batch: Batch, columns: dict[str, Tensor]) -> Batch:
    """The batch with some of its columns changed."""
    tokens = {name: columns.get(name, column) for name, column in batch.tokens.items()}
    responses = {name: columns.get(name, column) for name, column in batch.responses.items()}
    return Batch(batch.lengths, batch.group_of, tokens, responses)


def cast(batch: Batch, dtype: torch.dtype, device: torch.device | str = "cpu") -> Batch:
    """The same numbers, rounded to `dtype`, on `device`; what carried gradients is a leaf again."""

    def moved(columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v.detach().cpu().to(dtype).to(device).requires_grad_(v.requires_grad) for k, v in columns.items()}

    lengths, group_of = batch.lengths.to(device), batch.group_of.to(device)
    return Batch(lengths, group_of, moved(dict(batch.tokens)), moved(dict(batch.responses)))


def rows(batch: Batch, name: str) -> list[list[Tensor]]:
    """A per-token column as one list of scalars a response."""
    column, start, out = batch.tokens[name], 0, []
    for length in batch.lengths.tolist():
        out.append([column[start + i] for i in range(length)])
        start += length
    return out


def groups(batch: Batch) -> list[list[int]]:
    """Response numbers of each prompt."""
    found: dict[int, list[int]] = {}
    for response, group in enumerate(batch.group_of.tolist()):
        found.setdefault(group, []).append(response)
    return list(found.values())
