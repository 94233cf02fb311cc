"""From a step number to the packs of this rank: planned globally, built ahead of time in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heedful.models.batch import PackTensors, to_tensors
from heedful.objectives.views import Batch
from heedful.tokens.packs import Pack, build_pack
from heedful.tokens.planning import fill, plan_packs
from heedful.tokens.sampler import Sampler
from heedful.tokens.store import TokenStore

TOKEN_OUTPUTS = ("logps", "entropy", "values")
"""What the forward gives per trained token; `scores` it gives per response."""


@dataclass(frozen=True)
class PackBatch:
    """One pack with the data's columns: everything a `Batch` holds but the model's outputs.

    weight: 1, or 0 for a filler that only keeps ranks in step.
    """

    pack: PackTensors
    lengths: Tensor
    group_of: Tensor
    tokens: dict[str, Tensor]
    responses: dict[str, Tensor]
    weight: float

    def batch(self, outputs: Mapping[str, Tensor]) -> Batch:
        """The ragged batch that views look at."""
        tokens = {k: v for k, v in outputs.items() if k in TOKEN_OUTPUTS}
        responses = {k: v for k, v in outputs.items() if k not in TOKEN_OUTPUTS}
        return Batch(self.lengths, self.group_of, {**self.tokens, **tokens}, {**self.responses, **responses})

    def blank(self, wants: frozenset[str]) -> dict[str, Tensor]:
        """Outputs of zeros in the right shapes: enough to count a term's weights before any forward."""
        num_tokens, num_responses = int(self.lengths.sum()), self.lengths.numel()
        return {
            name: torch.zeros(num_tokens if name in TOKEN_OUTPUTS else num_responses, device=self.lengths.device)
            for name in wants
        }


@dataclass(frozen=True)
class StepBatch:
    """The part of one optimizer step that this rank computes, with the whole step's counts."""

    packs: list[PackBatch]
    mismatched: list[PackBatch]
    """The mismatched answers' packs, for statistics over the step; empty unless the objective asks for them."""
    rows: np.ndarray
    num_tokens: int
    num_trained: int
    fill: float
    """Share of pack slots that hold tokens, over all ranks: tokens / (packs × longest pack)."""


def sum_by_example(store: TokenStore, per_response: np.ndarray) -> np.ndarray:
    """Totals over each example's responses (E,)."""
    totals = np.concatenate([[0], np.cumsum(per_response)])
    return np.diff(totals[store.example_responses])


def pack_lengths(store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that each example takes in a pack (E,): without its mismatched answer, and with nothing but that one."""
    beside = store.response_lengths * (store.columns["mismatched"] > 0.5)
    own = store.response_lengths - beside
    return store.prompt_lengths + sum_by_example(store, own), store.prompt_lengths + sum_by_example(store, beside)


def batch_units(store: TokenStore, unit: str) -> np.ndarray:
    """How many prompts (1), responses or tokens each example counts for in a batch (E,); mismatched answers do not."""
    if unit == "prompts":
        return np.ones(store.num_examples, np.int64)
    if unit == "responses":
        return sum_by_example(store, (store.columns["mismatched"] < 0.5).astype(np.int64))
    assert unit == "tokens", unit
    return pack_lengths(store)[0]


class DataSource:
    """A token store with the columns that were computed for it.

    token_columns: per trained token of the store, by name (`ref_logps`).
    with_mismatched: whether mismatched answers are packed, apart from the others.
    lengths, mismatched_lengths (E,): see `pack_lengths`.  trained (E,): trained tokens of an example.
    """

    def __init__(
        self, store: TokenStore, token_columns: Mapping[str, np.ndarray], with_mismatched: bool, device: torch.device
    ) -> None:
        self.store, self.token_columns = store, token_columns
        self.with_mismatched, self.device = with_mismatched, device
        self.is_mismatched = store.columns["mismatched"] > 0.5
        self.lengths, self.mismatched_lengths = pack_lengths(store)
        self.trained = sum_by_example(store, np.diff(store.trained_offsets) * ~self.is_mismatched)

    def pack_batch(self, rows: np.ndarray, *, weight: float, mismatched: bool = False) -> PackBatch:
        """The pack of these examples with its columns, on the device."""
        keep = self.is_mismatched if mismatched else ~self.is_mismatched
        pack = build_pack(self.store, rows, weight=weight, keep=keep)
        return PackBatch(
            to_tensors(pack, self.device),
            self._to(np.bincount(pack.response_of, minlength=len(pack.response_rows))),
            self._to(pack.response_tree.astype(np.int64)),
            {name: self._to(self._token_column(column, pack)) for name, column in self.token_columns.items()},
            {name: self._to(column[pack.response_rows]) for name, column in self.store.columns.items()},
            weight,
        )

    def _token_column(self, column: np.ndarray, pack: Pack) -> np.ndarray:
        offsets = self.store.trained_offsets
        pieces = [column[offsets[row] : offsets[row + 1]] for row in pack.response_rows]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)

    def step(self, rows: np.ndarray, tokens_per_pack: int, rank: int, size: int) -> StepBatch:
        """Plan the step over all ranks and build this rank's packs."""
        lengths = self.lengths[rows]
        plan = plan_packs(lengths, tokens_per_pack, size)
        mismatched: list[PackBatch] = []
        if self.with_mismatched:
            beside = self.mismatched_lengths[rows]
            mismatched = self._build(rows, beside, plan_packs(beside, tokens_per_pack, size)[rank], mismatched=True)
        packs = self._build(rows, lengths, plan[rank], mismatched=False)
        return StepBatch(
            packs, mismatched, rows, int(lengths.sum()), int(self.trained[rows].sum()), fill(lengths, plan)
        )

    def whole(self, tokens_per_pack: int, rank: int, size: int) -> StepBatch:
        """Every example of the store as one step: what evaluation runs on."""
        rows = np.arange(self.store.num_examples)
        plan = sequential_packs(self.lengths, tokens_per_pack, size)
        mismatched: list[PackBatch] = []
        if self.with_mismatched:
            beside = sequential_packs(self.mismatched_lengths, tokens_per_pack, size)
            mismatched = self._build(rows, self.mismatched_lengths, beside[rank], mismatched=True)
        packs = self._build(rows, self.lengths, plan[rank], mismatched=False)
        return StepBatch(
            packs, mismatched, rows, int(self.lengths.sum()), int(self.trained.sum()), fill(self.lengths, plan)
        )

    def _build(
        self, rows: np.ndarray, lengths: np.ndarray, packs: Sequence[Sequence[int]], *, mismatched: bool
    ) -> list[PackBatch]:
        # A rank with less work than the others repeats the step's shortest example at weight 0: every rank must run
        # the same number of forwards, or collective operations inside them would wait forever.
        filler = rows[[int(np.argmin(lengths))]]
        mine = []
        for members in packs:
            chosen, weight = (rows[list(members)], 1.0) if len(members) else (filler, 0.0)
            mine.append(self.pack_batch(chosen, weight=weight, mismatched=mismatched))
        return mine


def sequential_packs(lengths: np.ndarray, budget: int, size: int) -> list[list[list[int]]]:
    """`plan[rank][j]` for a whole store: examples in their order, a new pack where the budget would be passed.

    What `plan_packs` does for a step, without its search for balance, which would be slow for thousands of examples.
    """
    packs: list[list[int]] = []
    room = 0
    for index, length in enumerate(lengths.tolist()):
        if length > room or not packs:
            packs.append([])
            room = max(budget, length)
        packs[-1].append(index)
        room -= length
    packs += [[] for _ in range(-len(packs) % size)]
    return [packs[rank::size] for rank in range(size)]


def step_batches(
    source: DataSource, sampler: Sampler, tokens_per_pack: int, rank: int, size: int, start: int, ahead: int = 2
) -> Iterator[StepBatch]:
    """The steps from `start` on, each built while the one before it is computed.

    An error while building is raised where the step is taken; leaving the iterator ends the thread.
    """
    ready: queue.Queue[StepBatch | BaseException | None] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(thing: StepBatch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(thing, timeout=0.1)
                return
            except queue.Full:
                continue

    def build() -> None:
        try:
            for step in range(start, sampler.num_steps):
                put(source.step(sampler.batch(step), tokens_per_pack, rank, size))
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=build, name="heedful-packs", daemon=True)
    thread.start()
    try:
        while (thing := ready.get()) is not None:
            if isinstance(thing, BaseException):
                raise thing
            yield thing
    finally:
        stop.set()
        thread.join()
