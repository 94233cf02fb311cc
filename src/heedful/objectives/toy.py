"""The batch that an objective is tried on before a run."""

from __future__ import annotations

import torch

from heedful.objectives.views import Batch


def toy_batch(*, absent: frozenset[str] = frozenset()) -> Batch:
    """Two prompts with two responses each, every column present: what an objective is tried on before a run."""
    lengths = torch.tensor([3, 2, 4, 3])
    num_tokens = int(lengths.sum())
    logps = -torch.linspace(0.2, 2.0, num_tokens, dtype=torch.float64)
    tokens = {
        "logps": logps.requires_grad_(),
        "ref_logps": -torch.linspace(1.4, 0.5, num_tokens, dtype=torch.float64).square(),
        "entropy": torch.linspace(0.5, 1.5, num_tokens, dtype=torch.float64, requires_grad=True),
        "sum_p2": torch.linspace(0.1, 0.6, num_tokens, dtype=torch.float64),
        "values": torch.linspace(-0.2, 0.8, num_tokens, dtype=torch.float64, requires_grad=True),
        "foretold": torch.linspace(-0.9, -0.1, num_tokens, dtype=torch.float64, requires_grad=True),
        "token_scores": torch.linspace(0.0, 0.7, num_tokens, dtype=torch.float64),
        "kl": torch.linspace(0.05, 0.4, num_tokens, dtype=torch.float64, requires_grad=True),
    }
    rows = {
        "scores": torch.tensor([0.7, -0.4, 0.1, -0.2], dtype=torch.float64, requires_grad=True),
        "reward": torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64),
        "value": torch.tensor([0.2, 0.2, -0.1, -0.1], dtype=torch.float64),
        "cost": torch.tensor([-1.0, 1.0, -0.5, 0.5], dtype=torch.float64),
        "desirable": torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64),
        "chosen": torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64),
        "safe": torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64),
        "rank": torch.tensor([1.0, 2.0, 1.0, 2.0], dtype=torch.float64),
        "weight": torch.ones(4, dtype=torch.float64),
        "margin": torch.zeros(4, dtype=torch.float64),
        "prompt_desirability": torch.tensor([0.8, 0.8, 0.4, 0.4], dtype=torch.float64),
    }
    return Batch(
        lengths,
        torch.tensor([0, 0, 1, 1]),
        {k: v for k, v in tokens.items() if k not in absent},
        {k: v for k, v in rows.items() if k not in absent},
    )
