"""Where the trees of a pack lie, and who may see whom.

A pack is a row of trees; a tree is a prompt followed by its responses.  A token sees the tokens before it in its own
prompt and, in a response, the tokens before it in its own response: never another response, never another tree.

Axes: `T` tokens of the pack, `n` tokens of one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Tree(NamedTuple):
    """Flat token ranges of one tree: the prompt is [start, prompt_end), responses are (start, end) pairs after it."""

    start: int
    prompt_end: int
    end: int
    responses: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """The trees of one pack.  Immutable; masks that are worked out once live in `cache` as long as the pack does."""

    trees: tuple[Tree, ...]
    positions: Int[Tensor, " T"]
    cache: dict = field(default_factory=dict, repr=False)

    @staticmethod
    def build(
        tree_starts: Sequence[int],
        prompt_lengths: Sequence[int],
        responses: Sequence[tuple[int, int]],
        response_tree: Sequence[int],
        positions: Tensor,
    ) -> Layout:
        """The layout of a pack's boundary arrays (all in flat token indices; `tree_starts` has one more, the end)."""
        of_tree: list[list[tuple[int, int]]] = [[] for _ in prompt_lengths]
        for tree, span in zip(response_tree, responses, strict=True):
            of_tree[tree].append(span)
        trees = tuple(
            Tree(start, start + length, end, tuple(spans))
            for start, end, length, spans in zip(tree_starts, tree_starts[1:], prompt_lengths, of_tree, strict=False)
        )
        for tree in trees:
            edges = [tree.prompt_end, *(edge for span in tree.responses for edge in span), tree.end]
            assert edges[::2] == edges[1::2], f"a gap between the segments of {tree}"
        return Layout(trees, positions)

    @property
    def longest(self) -> int:
        """Tokens of the longest path from a prompt's start to a response's end: what a sliding window sees."""
        if "longest" not in self.cache:
            self.cache["longest"] = max(
                (
                    tree.prompt_end - tree.start + max((end - start for start, end in tree.responses), default=0)
                    for tree in self.trees
                ),
                default=0,
            )
        return self.cache["longest"]

    def segments(self) -> tuple[Int[Tensor, " T"], Int[Tensor, " T"]]:
        """For every token, the number of its tree and of its segment (0 the prompt, k the k-th response)."""
        if "segments" not in self.cache:
            tree_of = torch.empty(len(self.positions), dtype=torch.int32)
            segment_of = torch.zeros(len(self.positions), dtype=torch.int32)
            for number, tree in enumerate(self.trees):
                tree_of[tree.start : tree.end] = number
                for k, (start, end) in enumerate(tree.responses, 1):
                    segment_of[start:end] = k
            device = self.positions.device
            self.cache["segments"] = tree_of.to(device), segment_of.to(device)
        return self.cache["segments"]

    def visible(self, number: int, window: int | None) -> Bool[Tensor, "n n"]:
        """Row i, column j: token i of tree `number` may see token j (a window holds the token itself too)."""
        key = ("visible", number, window)
        if key not in self.cache:
            tree = self.trees[number]
            segment = self.segments()[1][tree.start : tree.end]
            position = self.positions[tree.start : tree.end]
            order = torch.arange(len(segment), device=segment.device)
            seen = (order[None] <= order[:, None]) & ((segment[None] == 0) | (segment[None] == segment[:, None]))
            if window is not None:
                seen &= position[:, None] - position[None] < window
            self.cache[key] = seen
        return self.cache[key]
