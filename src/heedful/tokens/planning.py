"""Which examples of a step go into which pack of which rank: few packs, equally full, the same number on each rank.

The least number of packs is what the budget allows; among the ways to fill that many, the one whose longest pack is
shortest is sought (multiway number partitioning: longest first into the emptiest pack, then swaps that shorten the
longest).  Ranks run their j-th packs at the same time, so packs of nearly equal length stand side by side.
"""

from __future__ import annotations

import math

import numpy as np

MAX_SWAPS = 200
GOOD_ENOUGH = 1.005
"""Longest pack over the mean at which the search for swaps ends."""


def plan_packs(lengths: np.ndarray, tokens_per_pack: int, world: int = 1) -> list[list[list[int]]]:
    """`plan[rank][j]`: positions in the batch of the examples in the rank's j-th pack.

    lengths: tokens each example of the batch takes.  Every rank gets the same number of packs; an empty list stands
    for a filler, a pack that counts nothing.  Each example is in exactly one pack.
    Raises ValueError if an example is longer than `tokens_per_pack`, naming the budget that would fit.
    """
    sizes = [int(length) for length in lengths]
    assert sizes
    assert world >= 1
    if max(sizes) > tokens_per_pack:
        raise ValueError(
            f"tokens_per_pack={tokens_per_pack} is less than one example takes ({max(sizes)} tokens, prompt and all "
            f"its responses); set tokens_per_pack={max(sizes)} or more, or a smaller max_length"
        )
    rounds = max(1, math.ceil(math.ceil(sum(sizes) / tokens_per_pack) / world))
    while True:
        packs = _partition(sizes, rounds * world)
        if max(_total(sizes, pack) for pack in packs) <= tokens_per_pack:
            break
        rounds += 1
    packs.sort(key=lambda pack: (-_total(sizes, pack), pack))
    return [[packs[j * world + rank] for j in range(rounds)] for rank in range(world)]


def sequential_packs(lengths: np.ndarray, tokens_per_pack: int, world: int = 1) -> list[list[list[int]]]:
    """As `plan_packs`, for a whole store: examples in their order, a new pack where the budget would be passed.

    Without the search for balance, which would be slow for thousands of examples; one that is longer than
    `tokens_per_pack` gets a pack of its own.
    """
    packs: list[list[int]] = []
    room = 0
    for index, length in enumerate(lengths.tolist()):
        if length > room or not packs:
            packs.append([])
            room = max(tokens_per_pack, length)
        packs[-1].append(index)
        room -= length
    packs += [[] for _ in range(-len(packs) % world)]
    return [packs[rank::world] for rank in range(world)]


def fill(lengths: np.ndarray, plan: list[list[list[int]]]) -> float:
    """Tokens in the plan over (number of packs × longest pack): 1.0 when all packs are equally full."""
    totals = [sum(int(lengths[i]) for i in pack) for packs in plan for pack in packs]
    return sum(totals) / (len(totals) * max(totals))


def _total(sizes: list[int], pack: list[int]) -> int:
    return sum(sizes[i] for i in pack)


def _partition(sizes: list[int], num_packs: int) -> list[list[int]]:
    """Longest first into the emptiest pack, then moves and swaps out of the fullest while they shorten it."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    packs: list[list[int]] = [[] for _ in range(num_packs)]
    totals = [0] * num_packs
    for i in order:
        j = totals.index(min(totals))
        packs[j].append(i)
        totals[j] += sizes[i]
    enough = GOOD_ENOUGH * sum(sizes) / num_packs
    for _ in range(MAX_SWAPS):
        if max(totals) <= enough or not _improve(sizes, packs, totals):
            break
    for pack in packs:
        pack.sort()
    return packs


def _improve(sizes: list[int], packs: list[list[int]], totals: list[int]) -> bool:
    """Exchange up to two examples of the fullest pack for up to two of another so that the fuller of the two shrinks.

    Takes the exchange that leaves the lower maximum; returns False if there is none.
    """
    fullest = totals.index(max(totals))
    mine = _handfuls(sizes, packs[fullest])
    best: tuple[int, int, tuple[int, ...], tuple[int, ...]] | None = None
    for other in range(len(packs)):
        gap = totals[fullest] - totals[other]
        if other == fullest or gap < 2:
            continue
        theirs = _handfuls(sizes, packs[other])
        # Moving d tokens across leaves a maximum of total - min(d, gap - d); the best d is half the gap.
        moved = mine[0][:, None] - theirs[0][None, :]
        gain = np.minimum(moved, gap - moved)
        a, b = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[a, b] > 0 and (best is None or gain[a, b] > best[0]):
            best = (int(gain[a, b]), other, mine[1][a], theirs[1][b])
    if best is None:
        return False
    _, other, give, take = best
    packs[fullest] = [i for i in packs[fullest] if i not in give] + list(take)
    packs[other] = [i for i in packs[other] if i not in take] + list(give)
    totals[fullest], totals[other] = _total(sizes, packs[fullest]), _total(sizes, packs[other])
    return True


def _handfuls(sizes: list[int], pack: list[int]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Nothing, each example, and (in a small pack) each two, with their tokens."""
    hands: list[tuple[int, ...]] = [(), *((i,) for i in pack)]
    if len(pack) <= 12:
        hands += [(pack[a], pack[b]) for a in range(len(pack)) for b in range(a)]
    return np.array([sum(sizes[i] for i in hand) for hand in hands]), hands
