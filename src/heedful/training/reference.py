"""Reference log-probabilities: computed once, kept by content, reused by every run and objective on the same tokens.

A response's entry is found by the digest of the reference model and of the token ids (prompt, response and which of
its tokens are trained), so an entry for other weights or other text cannot be taken by mistake.  What is reused is
verified on a sample all the same.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from heedful.models.batch import to_tensors
from heedful.tokens.packs import build_pack
from heedful.tokens.planning import sequential_packs
from heedful.tokens.store import TokenStore
from heedful.training.engine import without_gradient
from heedful.training.world import World
from heedful.types import Echo

TOKENS_PER_PACK = 4096
"""Fixed, so that the packs, and with them the last bits of the result, depend on nothing but the data."""

SAMPLE = 4
TOLERANCE_NATS = 1e-3


class ReferenceCache:
    """The folder of one reference model: shards of (keys, lengths, log-probabilities), each written whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[bytes, np.ndarray] = {}
        with self._alone():
            self._read()

    def _read(self) -> None:
        """Take what the folder holds."""
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as shard:
                pieces = np.split(shard["logps"], np.cumsum(shard["lengths"])[:-1])
                self.entries.update(zip((key.tobytes() for key in shard["keys"]), pieces, strict=True))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process reads or changes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            # Windows and some cluster file systems lock nothing; shards are whole all the same.
            with contextlib.suppress(ImportError, OSError):
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def add(self, found: dict[bytes, np.ndarray]) -> None:
        """Keep these entries, on disk too.

        An entry that is there already stays, here as well: other examples beside it in its pack may have given it other
        last bits, and a run that resumes must find what it began with.
        """
        with self._alone():
            self._read()
            if found := {key: logps for key, logps in found.items() if key not in self.entries}:
                self._write(found)
        self.entries.update(found)

    def _write(self, found: dict[bytes, np.ndarray]) -> None:
        keys = np.stack([np.frombuffer(key, np.uint8) for key in found])
        name = secrets.token_hex(8)
        aside = self.folder / f".{name}.partial"
        with aside.open("wb") as file:
            lengths = np.array([len(v) for v in found.values()], np.int64)
            np.savez(file, keys=keys, lengths=lengths, logps=np.concatenate(list(found.values())))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.folder / f"{name}.npz")

    def clear(self) -> None:
        """Forget everything, on disk too."""
        self.entries = {}
        with self._alone():
            for path in self.folder.glob("*.npz"):
                path.unlink()


def reference_logps(
    store: TokenStore,
    module: nn.Module,
    name: str,
    cache_dir: Path,
    world: World,
    echo: Echo = lambda line: None,
) -> np.ndarray:
    """Log-probability of every trained token of the store under the reference model, float32, nats.

    module: the reference model's PackedModel; name: of the folder of its entries, by its weights and by whatever else
    moves their last bits.  Every rank gets the whole column; each computes a share of what is missing.
    """
    cache = ReferenceCache(cache_dir / "reference" / name)
    keys = [store.response_key(row) for row in range(store.num_responses)]
    known = set(world.broadcast([key for key in keys if key in cache.entries]))
    if known and not _still_true(store, module, cache, keys, known, world):
        echo("reference cache: an entry differs from what the model gives now; computing all again")
        if world.is_main:
            cache.clear()
        cache.entries, known = {}, set()
    # What is known is not computed again: a resumed run must find the very bits that it began with.
    missing = np.array([key not in known for key in keys])
    if missing.any():
        share = _compute(store, module, missing, world, echo)
        found = {k: v for part in world.gather(share) for k, v in part.items()}
        if world.is_main:
            cache.add(found)
        cache.entries |= world.broadcast({key: cache.entries[key] for key in found} if world.is_main else {})
    else:
        echo("reference log-probabilities: taken from the cache")
    return np.concatenate([cache.entries[key] for key in keys])


def _compute(
    store: TokenStore, module: nn.Module, missing: np.ndarray, world: World, echo: Echo
) -> dict[bytes, np.ndarray]:
    """This rank's share of the responses that are `missing` (R,): key → log-probabilities."""
    rows = np.flatnonzero(store.sum_by_example(missing))
    lengths = (store.prompt_lengths + store.sum_by_example(store.response_lengths * missing))[rows]
    plan = sequential_packs(lengths, TOKENS_PER_PACK, world.size)[world.rank]
    found: dict[bytes, np.ndarray] = {}
    for number, members in enumerate(plan):
        # A rank with less to do than the others runs an example for nothing: collective operations need every rank.
        chosen = rows[members] if members else rows[[int(np.argmin(lengths))]]
        entries = _forward(store, module, chosen, world.device, missing)
        if members:
            found |= entries
        if world.is_main and (number + 1) % 50 == 0:
            echo(f"reference log-probabilities: {number + 1} of {len(plan)} packs")
    return found


def _forward(
    store: TokenStore, module: nn.Module, rows: np.ndarray, device: torch.device, keep: np.ndarray | None = None
) -> dict[bytes, np.ndarray]:
    pack = build_pack(store, rows, keep=keep)
    with without_gradient(module):
        logps = module(to_tensors(pack, device), frozenset({"logps"}))["logps"].cpu().numpy()
    ends = np.cumsum(np.bincount(pack.response_of, minlength=len(pack.response_rows)))
    return {
        store.response_key(int(row)): piece
        for row, piece in zip(pack.response_rows, np.split(logps, ends[:-1]), strict=True)
    }


def _still_true(
    store: TokenStore, module: nn.Module, cache: ReferenceCache, keys: list[bytes], known: set[bytes], world: World
) -> bool:
    """Whether a few known entries are what the model gives now."""
    rows = np.flatnonzero(store.sum_by_example(np.array([key not in known for key in keys])) == 0)
    if not len(rows):
        return True
    rows = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)]
    again = _forward(store, module, np.unique(rows), world.device)
    same = all(
        key in cache.entries
        and len(cache.entries[key]) == len(logps)
        and np.allclose(cache.entries[key], logps, atol=TOLERANCE_NATS)
        for key, logps in again.items()
    )
    return not world.any(not same)
