"""Splitting by prompt: no prompt is in both halves."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from heedful.types import Example, UserError


def prompt_key(example: Example) -> Hashable:
    """What makes two prompts the same: their turns.  A document, which has no prompt, is known by its text."""
    turns = example.prompt or [turn for response in example.responses for turn in response.messages]
    return (bool(example.prompt), *((turn.role, turn.content) for turn in turns))


def split_by_prompt(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:  # fmt: skip
    """(train, eval): all examples of round(fraction * prompts) prompts, drawn with `seed`, are for evaluation.

    Both halves keep the order of the data.  Prompts are numbered by first appearance and shuffled; the last ones are
    taken.  Raises UserError if `fraction` is not between 0 and 1, or leaves either half without a prompt.
    """
    if not 0 < fraction < 1:
        raise UserError(f"eval_fraction is {fraction}, and must lie between 0 and 1 (both excluded).")
    numbers: dict[Hashable, int] = {}
    prompts = [numbers.setdefault(prompt_key(example), len(numbers)) for example in examples]
    count = round(len(numbers) * fraction)
    if not 0 < count < len(numbers):
        side = "evaluation" if count == 0 else "training"
        raise UserError(f"eval_fraction is {fraction}, and of {len(numbers)} prompts that leaves none for {side}.")
    order = np.arange(len(numbers))
    np.random.default_rng(seed).shuffle(order)
    held_out = set(order[-count:].tolist())
    train = [example for example, prompt in zip(examples, prompts, strict=True) if prompt not in held_out]
    evaluation = [example for example, prompt in zip(examples, prompts, strict=True) if prompt in held_out]
    return train, evaluation
