"""The native batched sampler: every prompt is read once for its K samples, rows that end leave the batch.

No row is ever padded.  A batch holds prompts of similar length; what the shortest has, all prefill at once (one row a
prompt), then each prompt's row is copied for its K samples, and longer prompts are fed their remaining tokens one step
at a time while the shorter ones already sample.  So a token's slot in the cache is its position, for every kind of
position embedding, and no mask is needed.  Axes: `B` rows, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from heedful.rollouts.cache import new_cache
from heedful.rollouts.choose import choose
from heedful.rollouts.seeds import uniforms
from heedful.rollouts.settings import SamplingSettings

KEEP_SHARE = 0.85
"""Ended rows are removed once fewer than this share of the batch runs: removing copies the cache, keeping computes."""


@dataclass
class Row:
    """One sample: its prompt and seed, and, when the batch is done, what came of it."""

    prompt_ids: list[int]
    seed: int
    prompt_index: int
    sample_index: int
    limit: int
    """Most tokens it may have."""
    ids: list[int]
    logps: list[float] | None = None
    finished: bool = False


class Stops:
    """What ends a sample: stop tokens, and stop strings looked for in the decoded tail."""

    def __init__(self, ids: Sequence[int], strings: Sequence[str], decode: Callable[[list[int]], str]) -> None:
        self.ids = np.array(sorted(set(ids)), dtype=np.int64)
        self.strings = list(strings)
        self._decode = decode
        # A byte-level piece may be a quarter of a character, so a string may take four tokens a character.
        self._tail = 4 * max((len(s) for s in self.strings), default=0) + 4

    def in_text(self, ids: np.ndarray) -> bool:
        """Whether the last tokens hold a stop string."""
        tail = self._decode(ids[-self._tail :].tolist())
        return any(s in tail for s in self.strings)

    def cut(self, text: str) -> str:
        """The text before the first stop string."""
        ends = [at for s in self.strings if (at := text.find(s)) >= 0]
        return text[: min(ends)] if ends else text


@torch.inference_mode()
def run_batch(model: Any, prompts: list[list[Row]], settings: SamplingSettings, stops: Stops) -> list[Row]:
    """Sample every row to its end.  `prompts` holds, prompt by prompt, the rows that share it."""
    device = next(model.parameters()).device
    rows = [row for group in prompts for row in group]
    shared = min(len(row.prompt_ids) for row in rows)
    batch = _Batch(rows, shared, settings, stops)
    cache = new_cache(model.config)
    logits = _forward(model, torch.tensor([group[0].prompt_ids[:shared] for group in prompts], device=device), cache)
    if len(rows) > len(prompts):
        copies = torch.tensor([g for g, group in enumerate(prompts) for _ in group], device=device)
        _select(cache, copies)
        logits = logits.index_select(0, copies)
    while True:
        tokens = batch.advance(logits)
        if not batch.running.any():
            return batch.results()
        if batch.running[batch.at].mean() < KEEP_SHARE:
            kept = np.flatnonzero(batch.running[batch.at])
            batch.at, tokens = batch.at[kept], tokens[kept]
            _select(cache, torch.from_numpy(kept).to(device))
        logits = _forward(model, torch.from_numpy(tokens).to(device)[:, None], cache)


def _forward(model: Any, ids: Int[Tensor, "B T"], cache: Cache) -> Float[Tensor, "B V"]:
    """Logits after the last token."""
    return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def _select(cache: Cache, rows: Tensor) -> None:
    cache.reorder_cache(cast(torch.LongTensor, rows))


class _Batch:
    """The book-keeping of one batch, in NumPy: a few operations a step, on as many numbers as there are rows."""

    def __init__(self, rows: list[Row], shared: int, settings: SamplingSettings, stops: Stops) -> None:
        self.rows, self.settings, self.stops = rows, settings, stops
        self.step = 0
        self.at = np.arange(len(rows))
        """Which row each row of the cache is."""
        self.running = np.ones(len(rows), dtype=bool)
        self.finished = np.zeros(len(rows), dtype=bool)
        self.limit = np.array([row.limit for row in rows])
        self.unread = np.array([len(row.prompt_ids) - shared for row in rows])
        """Prompt tokens that did not fit the shared prefill."""
        self.count = np.zeros(len(rows), dtype=np.int64)
        width = int((self.unread + self.limit).max())
        self.ids = np.zeros((len(rows), width), dtype=np.int64)
        for r, row in enumerate(rows):
            self.ids[r, : self.unread[r]] = row.prompt_ids[shared:]
        self.logps = np.zeros((len(rows), width), dtype=np.float32) if settings.want_logps else None
        self.uniform = uniforms([row.seed for row in rows], int(self.limit.max()))

    def advance(self, logits: Float[Tensor, "B V"]) -> np.ndarray:
        """Each cache row's next token: of its prompt while that lasts, else sampled.  Notes which rows end with it."""
        at, settings = self.at, self.settings
        made = self.step - self.unread[at]
        sampling = made >= 0
        if not sampling.any():
            self.step += 1
            return self.ids[at, self.step - 1]
        drawn = torch.from_numpy(self.uniform[at, made.clip(0, self.uniform.shape[1] - 1)]).to(logits.device)
        allowed = self._allowed(logits, made)
        picked = choose(allowed, drawn, temperature=settings.temperature, top_k=settings.top_k, top_p=settings.top_p)
        tokens = np.where(sampling, picked.cpu().numpy(), self.ids[at, self.step])
        active = sampling & self.running[at]
        self.ids[at[active], self.step] = tokens[active]
        if self.logps is not None:
            logps = torch.log_softmax(logits.float(), -1).gather(1, picked[:, None])[:, 0]
            self.logps[at, self.step] = logps.cpu().numpy()
        self.count[at[active]] += 1
        self.step += 1
        self._end(at, active, tokens, made)
        return tokens

    def _allowed(self, logits: Float[Tensor, "B V"], made: np.ndarray) -> Float[Tensor, "B V"]:
        """The logits, those of banned tokens and of ends that come too early at -inf."""
        banned, least = self.settings.banned_ids, self.settings.min_new_tokens
        early = np.flatnonzero(made < least) if least else np.empty(0, np.int64)
        if not banned and not len(early):
            return logits
        allowed = logits.clone()
        if banned:
            allowed[:, list(banned)] = -torch.inf
        if len(early):
            rows = torch.from_numpy(early).to(logits.device)
            allowed[rows[:, None], torch.from_numpy(self.stops.ids).to(logits.device)] = -torch.inf
        return allowed

    def _end(self, at: np.ndarray, active: np.ndarray, tokens: np.ndarray, made: np.ndarray) -> None:
        stopped = active & np.isin(tokens, self.stops.ids)
        if self.stops.strings:
            for i in np.flatnonzero(active & ~stopped):
                start = self.unread[at[i]]
                stopped[i] = self.stops.in_text(self.ids[at[i], start : start + self.count[at[i]]])
        self.finished[at[stopped]] = True
        self.running[at[stopped | (active & (made + 1 >= self.limit[at]))]] = False

    def results(self) -> list[Row]:
        """The rows with their tokens (the stop token included), log-probabilities and whether they ended."""
        for r, row in enumerate(self.rows):
            kept = slice(self.unread[r], self.unread[r] + self.count[r])
            row.ids = self.ids[r, kept].tolist()
            row.logps = None if self.logps is None else self.logps[r, kept].tolist()
            row.finished = bool(self.finished[r])
        return self.rows
