"""Small batches in float64 for trying objectives on: every column present, gradients on what a model would give."""

from __future__ import annotations

import torch

from heedful.objectives.views import Batch


def random_batch(seed: int = 0, *, sizes: tuple[int, ...] = (2, 2, 2), most_tokens: int = 6) -> Batch:
    """One group of responses for each of `sizes`; the first response of a group is the chosen, desirable one."""
    generator = torch.Generator().manual_seed(seed)
    num = sum(sizes)

    def normal(n: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(n, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, most_tokens + 1, (num,), generator=generator)
    tokens = int(lengths.sum())
    first = torch.cat([torch.tensor([1.0] + [0.0] * (size - 1), dtype=torch.float64) for size in sizes])
    ranks = torch.cat([torch.arange(1, size + 1, dtype=torch.float64) for size in sizes])
    group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Batch(
        lengths,
        group,
        {
            "logps": (-normal(tokens).abs() - 0.01).requires_grad_(),
            "ref_logps": -normal(tokens).abs() - 0.01,
            "entropy": normal(tokens).abs().requires_grad_(),
            "values": normal(tokens).requires_grad_(),
        },
        {
            "scores": normal(num).requires_grad_(),
            "reward": normal(num),
            "cost": normal(num),
            "desirable": first.clone(),
            "chosen": first,
            "safe": first.clone(),
            "rank": ranks,
            "weight": torch.ones(num, dtype=torch.float64),
            "margin": normal(len(sizes)).abs()[group],
        },
    )


def leaves(batch: Batch) -> dict[str, torch.Tensor]:
    """The columns that carry gradients."""
    return {k: v for k, v in {**batch.tokens, **batch.responses}.items() if v.requires_grad}


def rows(batch: Batch, name: str) -> list[list[torch.Tensor]]:
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
