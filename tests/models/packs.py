"""Packs with random tokens, and the same numbers from plain forwards, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from heedful.tokens.packs import Pack

TREES = ((5, (12, 9, 1)), (17, (3,)), (1, (2,)), (4, (6, 6)))
"""Prompt length and response lengths of four trees; longer than the tiny models' sliding window of 6."""


def make_pack(trees: Sequence[tuple[int, Sequence[int]]] = TREES, *, vocab_size: int = 320, seed: int = 0) -> Pack:
    """A pack of the given shape whose every response token is trained."""
    random = np.random.default_rng(seed)
    positions, sources, tree_starts, starts, ends, tree_of = [], [], [0], [], [], []
    for tree, (prompt, lengths) in enumerate(trees):
        base = tree_starts[-1]
        positions += range(prompt)
        at = base + prompt
        for length in lengths:
            sources += [base + prompt - 1, *range(at, at + length - 1)]
            positions += range(prompt, prompt + length)
            starts.append(at)
            at += length
            ends.append(at)
            tree_of.append(tree)
        tree_starts.append(at)
    spans = list(zip(starts, ends, strict=True))
    return Pack(
        ids=random.integers(2, vocab_size, tree_starts[-1]),
        positions=np.array(positions),
        tree_starts=np.array(tree_starts),
        prompt_lengths=np.array([prompt for prompt, _ in trees]),
        response_starts=np.array(starts),
        response_ends=np.array(ends),
        response_tree=np.array(tree_of),
        targets=np.array([token for span in spans for token in range(*span)]),
        sources=np.array(sources),
        response_of=np.array([b for b, span in enumerate(spans) for _ in range(*span)]),
        example_rows=np.arange(len(trees)),
        response_rows=np.arange(len(starts)),
    )


def rows_of(pack: Pack) -> list[tuple[Tensor, int]]:
    """Each response behind its own copy of the prompt: (ids, prompt length)."""
    rows = []
    for tree, start, end in zip(pack.response_tree, pack.response_starts, pack.response_ends, strict=True):
        begin, prompt = pack.tree_starts[tree], int(pack.prompt_lengths[tree])
        rows.append((torch.from_numpy(np.concatenate([pack.ids[begin : begin + prompt], pack.ids[start:end]])), prompt))
    return rows


def plain_logps(model: Any, pack: Pack) -> Tensor:
    """What the plain model says of every response token, one row at a time."""
    found = []
    for ids, prompt in rows_of(pack):
        logps = model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
        found.append(logps[prompt - 1 : -1].gather(1, ids[prompt:, None])[:, 0])
    return torch.cat(found)


def plain_scores(model: Any, pack: Pack) -> Tensor:
    """The plain classifier's score of every response, one row at a time."""
    return torch.cat([model(input_ids=ids[None], use_cache=False).logits[:, 0] for ids, _ in rows_of(pack)])


class InDouble(TorchFunctionMode):
    """Turns float32 into float64 wherever a model casts: softmaxes and norms that insist on float32 would otherwise
    blur a float64 comparison at 1e-8."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)


def gradients(model: Any, value: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """d(value·weights)/d(parameter) for every trained parameter (zeros where it does not matter)."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(value @ weights, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), grads, strict=True)}


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """Close in every entry, in units of the largest gradient."""
    assert ours.keys() == theirs.keys()
    scale = max(float(g.abs().max()) for g in theirs.values())
    worst = max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)
    assert worst <= tolerance * scale, f"gradients differ by {worst / scale:.1e} of the largest"
