"""From a step number to the packs of this rank: planned globally, built ahead of time in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heedful.models.batch import PackTensors, to_tensors
from heedful.objectives.views import TOKEN_COLUMNS, Batch
from heedful.tokens.packs import Pack, build_pack, pack_lengths
from heedful.tokens.planning import fill, plan_packs, sequential_packs
from heedful.tokens.sampler import Sampler
from heedful.tokens.store import TokenStore

Planner = Callable[[np.ndarray, int, int], list[list[list[int]]]]
"""`plan_packs` and its kin: (tokens of each example, tokens of a pack, ranks) to `plan[rank][j]`."""


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
        tokens = {k: v for k, v in outputs.items() if k in TOKEN_COLUMNS}
        responses = {k: v for k, v in outputs.items() if k not in TOKEN_COLUMNS}
        return Batch(self.lengths, self.group_of, {**self.tokens, **tokens}, {**self.responses, **responses})

    def blank(self, wants: frozenset[str]) -> dict[str, Tensor]:
        """Outputs of zeros in the right shapes: enough to count a term's weights before any forward."""
        num_tokens, num_responses = int(self.lengths.sum()), self.lengths.numel()
        return {
            name: torch.zeros(num_tokens if name in TOKEN_COLUMNS else num_responses, device=self.lengths.device)
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
        self.lengths, self.mismatched_lengths = pack_lengths(store)
        self.trained = store.sum_by_example(np.diff(store.trained_offsets) * ~store.is_mismatched)

    def pack_batch(self, rows: np.ndarray, *, weight: float, mismatched: bool = False) -> PackBatch:
        """The pack of these examples with its columns, on the device."""
        beside = self.store.is_mismatched
        pack = build_pack(self.store, rows, keep=beside if mismatched else ~beside)
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
        return self._planned(rows, plan_packs, tokens_per_pack, rank, size)

    def whole(self, tokens_per_pack: int, rank: int, size: int) -> StepBatch:
        """Every example of the store as one step: what evaluation runs on."""
        return self._planned(np.arange(self.store.num_examples), sequential_packs, tokens_per_pack, rank, size)

    def _planned(self, rows: np.ndarray, planner: Planner, tokens_per_pack: int, rank: int, size: int) -> StepBatch:
        lengths = self.lengths[rows]
        plan = planner(lengths, tokens_per_pack, size)
        mismatched: list[PackBatch] = []
        if self.with_mismatched:
            beside = self.mismatched_lengths[rows]
            mismatched = self._build(rows, beside, planner(beside, tokens_per_pack, size)[rank], mismatched=True)
        packs = self._build(rows, lengths, plan[rank], mismatched=False)
        return StepBatch(
            packs, mismatched, rows, int(lengths.sum()), int(self.trained[rows].sum()), fill(lengths, plan)
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
