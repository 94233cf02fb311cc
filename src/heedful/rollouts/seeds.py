"""One seed and one stream of uniforms per sample, whatever batch it is sampled in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np


def sample_seed(seed: int, prompt_ids: Sequence[int], index: int) -> int:
    """A 63-bit seed that is a function of (seed, prompt tokens, sample index) and of nothing else."""
    hashed = hashlib.blake2b(f"{seed}:{index}:".encode(), digest_size=8)
    hashed.update(np.asarray(prompt_ids, dtype="<i8").tobytes())
    return int.from_bytes(hashed.digest(), "little") >> 1


def plan_seeds(seed: int, prompts: Sequence[Sequence[int]], samples_per_prompt: int) -> list[list[int]]:
    """Seeds of every prompt's samples.  A prompt asked again continues the numbering, so it gives new samples."""
    asked: Counter[tuple[int, ...]] = Counter()
    seeds = []
    for ids in prompts:
        first = asked[tuple(ids)] * samples_per_prompt
        asked[tuple(ids)] += 1
        seeds.append([sample_seed(seed, ids, first + k) for k in range(samples_per_prompt)])
    return seeds


def uniforms(seeds: Sequence[int], count: int) -> np.ndarray:
    """(len(seeds), count, 2) uniforms in [0, 1): row i comes from a counter-based generator keyed by seeds[i].

    A row's first n values do not depend on `count`, so a larger token limit extends a sample and changes none of it.
    """
    return np.stack([np.random.Generator(np.random.Philox(key=s)).random((count, 2)) for s in seeds])
