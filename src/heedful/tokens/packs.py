"""Packs: flat, padding-free token streams in which each prompt stands once, followed by its responses.

Axes: `T` tokens of the pack, `G` trees (a prompt and its responses), `B` responses, `N` trained response tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from heedful.tokens.store import TokenStore


@dataclass(slots=True)
class Pack:
    """One forward's worth of tokens.

    ids: token ids.  positions: restart after the prompt for every response, so that each response sits where it
    would if it followed the prompt alone.
    tree_starts (G+1): tree g is tokens [ts[g], ts[g+1]), its prompt the first `prompt_lengths[g]` of them.
    response_starts, response_ends (B): token range of each response; `response_tree` is its tree.
    targets (N): index of each trained token; sources (N): of the token that predicts it, which is the one before,
    and for the first token of a response the prompt's last; response_of (N): its response, 0 … B-1.
    example_rows (G), response_rows (B): rows in the store.
    """

    ids: Int64[np.ndarray, " T"]
    positions: Int64[np.ndarray, " T"]
    tree_starts: Int64[np.ndarray, " G+1"]
    prompt_lengths: Int64[np.ndarray, " G"]
    response_starts: Int64[np.ndarray, " B"]
    response_ends: Int64[np.ndarray, " B"]
    response_tree: Int64[np.ndarray, " B"]
    targets: Int64[np.ndarray, " N"]
    sources: Int64[np.ndarray, " N"]
    response_of: Int64[np.ndarray, " N"]
    example_rows: Int64[np.ndarray, " G"]
    response_rows: Int64[np.ndarray, " B"]

    @property
    def num_responses(self) -> int:
        """Responses in the pack."""
        return len(self.response_starts)


def build_pack(
    store: TokenStore,
    example_rows: np.ndarray | list[int],
    *,
    keep: Bool[np.ndarray, " R"] | None = None,
) -> Pack:
    """Lay the examples `example_rows` of the store into one pack, in their order.

    keep: which of the store's responses to include (all); an example of which none is kept is left out.
    Raises ValueError if nothing is left.
    """
    rows = np.asarray(example_rows, np.int64)
    first, last = store.example_responses[rows], store.example_responses[rows + 1]
    response_rows = _ranges(first, last)
    response_tree = np.repeat(np.arange(len(rows)), last - first)
    if keep is not None:
        kept = keep[response_rows]
        response_rows, response_tree = response_rows[kept], response_tree[kept]
        present, response_tree = np.unique(response_tree, return_inverse=True)
        rows = rows[present]
    if len(response_rows) == 0:
        raise ValueError("a pack needs at least one response")

    prompt_lengths, lengths = store.prompt_lengths[rows], store.response_lengths[response_rows]
    tree_lengths = prompt_lengths + np.bincount(response_tree, weights=lengths, minlength=len(rows)).astype(np.int64)
    tree_starts = np.concatenate([[0], np.cumsum(tree_lengths)])
    before = np.cumsum(lengths) - lengths  # response tokens of the pack before each response
    response_starts = before + np.cumsum(prompt_lengths)[response_tree]
    prompt_slots = _ranges(tree_starts[:-1], tree_starts[:-1] + prompt_lengths)
    response_slots = _ranges(response_starts, response_starts + lengths)

    ids = np.empty(tree_starts[-1], np.int64)
    ids[prompt_slots] = np.concatenate([store.prompt_tokens(e) for e in rows])
    ids[response_slots] = np.concatenate([store.response_tokens(r) for r in response_rows])
    positions = np.empty_like(ids)
    positions[prompt_slots] = prompt_slots - np.repeat(tree_starts[:-1], prompt_lengths)
    positions[response_slots] = response_slots - np.repeat(response_starts - prompt_lengths[response_tree], lengths)

    trained = np.concatenate([store.response_trained(r) for r in response_rows])
    response_of = np.repeat(np.arange(len(response_rows)), lengths)[trained]
    targets = response_slots[trained]
    opening = targets == response_starts[response_of]
    trees = response_tree[response_of]
    sources = np.where(opening, (tree_starts[:-1] + prompt_lengths)[trees], targets) - 1
    return Pack(
        ids=ids,
        positions=positions,
        tree_starts=tree_starts,
        prompt_lengths=prompt_lengths,
        response_starts=response_starts,
        response_ends=response_starts + lengths,
        response_tree=response_tree,
        targets=targets,
        sources=sources,
        response_of=response_of,
        example_rows=rows,
        response_rows=response_rows,
    )


def pack_lengths(store: TokenStore) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"]]:
    """Tokens that each example takes in a pack: without its mismatched answer, and with nothing but that one."""
    own, beside = (store.response_lengths * kept for kept in (~store.is_mismatched, store.is_mismatched))
    return store.prompt_lengths + store.sum_by_example(own), store.prompt_lengths + store.sum_by_example(beside)


def _ranges(starts: np.ndarray, stops: np.ndarray) -> Int64[np.ndarray, " n"]:
    """The integers of [starts[0], stops[0]), then those of [starts[1], stops[1]), and so on."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
