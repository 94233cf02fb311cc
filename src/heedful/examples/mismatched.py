"""The mismatched answers of unpaired objectives (KTO's estimate of the divergence): answers to other prompts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from heedful.examples.shape import Shaped
from heedful.examples.splits import prompt_key
from heedful.types import Example, Message, Response, UserError


def is_mismatched(response: Response) -> bool:
    """Whether a response answers another prompt than its own."""
    return bool(response.extra.get("mismatched", False))


def attach_mismatched(examples: Sequence[Example], seed: int) -> Shaped:
    """Each Example with one response more, the last, which is an answer to another prompt.

    Prompts are put in a random circle and each takes an answer of the next one: a derangement, so no prompt meets
    its own answers, and every prompt's answers serve exactly one other prompt.  Which of several answers is drawn
    for each Example.  The response has `extra["mismatched"] = True` and no label.
    Ethayarajh et al. 2024, sec. 4.1, arXiv:2402.01306 (there: the next row of the microbatch).
    Raises UserError for fewer than two different prompts.
    """
    assert all(example.responses for example in examples), "singles have responses"
    answers: dict[Hashable, list[Response]] = {}
    for example in examples:
        answers.setdefault(prompt_key(example), []).extend(example.responses)
    if len(answers) < 2:
        raise UserError(
            f"the data has {len(answers)} different prompts, and mismatched answers (KTO) need two at least; add data."
        )
    rng = np.random.default_rng(seed)
    prompts = list(answers)
    circle = rng.permutation(len(prompts)).tolist()
    donor = {prompts[a]: prompts[b] for a, b in zip(circle, [*circle[1:], circle[0]], strict=True)}
    draws = rng.random(len(examples)).tolist()
    served = zip(examples, draws, strict=True)
    return Shaped([_with(example, answers[donor[prompt_key(example)]], u) for example, u in served])


def _with(example: Example, candidates: list[Response], u: float) -> Example:
    """u: uniform in [0, 1), which candidate."""
    answer = candidates[int(u * len(candidates))]
    messages = [Message(turn.role, turn.content, turn.trained) for turn in answer.messages]
    return replace(example, responses=[*example.responses, Response(messages, extra={"mismatched": True})])
