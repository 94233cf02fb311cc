"""The bare model: forward, backward and optimizer of plain Transformers, on as many unique tokens in full rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.corpus import MAX_LENGTH, Corpus
from benchmarks.settings import LR, clock
from heedful.training.batches import StepBatch


@dataclass(frozen=True)
class BareBatch:
    """ids (rows, columns); the flat positions whose states the head reads; what they should predict."""

    ids: Tensor
    positions: Tensor
    targets: Tensor


def full_rows(ids: Tensor, num_positions: int, width: int = MAX_LENGTH) -> BareBatch:
    """Tokens one after the other in as few rows of at most `width` as hold them, all equally long.

    Fewer than one token a row is left over and dropped.  The head reads `num_positions` states, evenly spread.
    """
    rows = -(-len(ids) // width)
    kept = ids[: len(ids) // rows * rows].view(rows, -1)
    positions = torch.linspace(0, kept.numel() - 1, num_positions).long()
    return BareBatch(kept, positions, kept.flatten().roll(-1)[positions])


def bare_batches(steps: Sequence[StepBatch], *, scores: bool) -> list[BareBatch]:
    """The unique tokens of each of Heedful's steps, and as many head positions: of every trained token or answer."""
    batches = []
    for step in steps:
        ids = torch.cat([batch.pack.ids for batch in step.packs])
        count = sum((batch.pack.last if scores else batch.pack.targets).numel() for batch in step.packs)
        batches.append(full_rows(ids, count))
    return batches


class BareRun:
    """A plain Transformers model with torch's fused AdamW."""

    def __init__(self, corpus: Corpus, batches: list[BareBatch], *, scores: bool):
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        auto = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
        path = str(corpus.model("reward" if scores else "sft"))
        self.model: Any = auto.from_pretrained(path, dtype=torch.float32).train()
        self.head = self.model.score if scores else self.model.lm_head
        self.batches, self.scores = batches, scores
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=0.0, fused=True)

    def train(self) -> float:
        """One pass over the batches, in seconds."""
        began = clock()
        for batch in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            states = self.model.model(input_ids=batch.ids, use_cache=False)[0].flatten(0, 1)[batch.positions]
            logits = self.head(states)
            loss = F.softplus(-logits).mean() if self.scores else F.cross_entropy(logits, batch.targets)
            loss.backward()
            self.optimizer.step()
        return clock() - began
