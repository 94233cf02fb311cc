"""The held-out prompts of a comparison: those that are measured on, and others by which validation finds the best."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from heedful.config import CompareConfig, TrainConfig
from heedful.examples import to_demonstrations
from heedful.examples.digest import digest_of_examples
from heedful.rollouts import in_order, sample, to_examples
from heedful.tokens import Template
from heedful.training.data import read_data, without_prompts_of
from heedful.training.samples import Validate
from heedful.types import Example, UserError
from heedful.workflows.judges import REWARD, Panel, failed
from heedful.workflows.sampling import distinct_prompts

LEAST_VALIDATION = 3
"""Of so many held-out prompts one can be spared for validation."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out prompts with the data's own answers.

    test: what every model is measured on.  validation: others, at most a third of all.
    digests: of the examples that are trained on, and of the evaluation data.
    num_too_long: prompts that are not asked, since they leave no room for an answer.
    """

    test: list[Example]
    validation: list[Example]
    digests: dict[str, str]
    num_too_long: int

    def best_answers(self, prefer: str) -> tuple[list[Example], np.ndarray]:
        """The data's best answer to each test prompt that has a judged one, and which prompts those are."""
        found = [(i, to_demonstrations([e], prefer=prefer).examples) for i, e in enumerate(self.test)]  # pyright: ignore
        rows = [i for i, best in found if best]
        # The prompt stays as it was asked, though a demonstration may begin at a later turn.
        examples = [replace(best[0], prompt=self.test[i].prompt) for i, best in found if best]
        return examples, np.array(rows, np.int64)


def hold_out(config: TrainConfig, asked: CompareConfig, template: Template) -> HeldOut:
    """The prompts of the evaluation data, in an order drawn by the seed: first validation's, then the test's.

    Raises UserError if there are too few.
    """
    train, evaluation, _ = read_data(config)
    digests = {"train": digest_of_examples(train), "eval": digest_of_examples(evaluation)}
    found = distinct_prompts(without_prompts_of(evaluation, train).examples)
    limit = prompt_limit(config, asked.max_new_tokens)
    prompts = [example for example in found if _fits(example, template, limit)]
    if not prompts:
        what = f"that fits in {limit} tokens" if found else "that is not in the training data too"
        raise UserError(f"none of the evaluation data has a prompt {what}, so there is nothing to compare on")
    wanted = asked.validation_prompts if asked.judges else 0
    if wanted and len(prompts) < LEAST_VALIDATION:
        raise UserError(
            f"{len(prompts)} held-out prompts are too few to validate on some and measure on others; hold out more "
            "(eval_fraction, eval_data), or say validation_prompts=0"
        )
    prompts = random.Random(config.seed).sample(prompts, len(prompts))
    num = min(wanted, len(prompts) // LEAST_VALIDATION)
    return HeldOut(prompts[num : num + asked.num_prompts], prompts[:num], digests, len(found) - len(prompts))


def _fits(example: Example, template: Template, limit: int) -> bool:
    """Whether the prompt can be asked, without its oldest turns if need be."""
    try:
        template.encode_prompt(example.prompt, max_prompt_length=limit - 1)  # a control token may come to it
    except UserError:
        return False
    return True


def prompt_limit(config: TrainConfig, max_new_tokens: int) -> int:
    """Tokens of the longest prompt that is asked, so that an answer fits beside it as in training."""
    room = max(config.max_length - max_new_tokens, config.max_length // 2)
    return room if config.max_prompt_length is None else min(config.max_prompt_length, room)


def make_validate(held_out: HeldOut, panel: Panel, config: TrainConfig, asked: CompareConfig) -> Validate | None:
    """The function that judges a model's answers to the validation prompts at every evaluation; None without any.

    It gives `reward` and `reward/JUDGE` (means), `failed` (share of empty or unfinished answers) and `answer_tokens`.
    Every evaluation draws with the same random numbers, so what changes is the model.
    """
    if not held_out.validation:
        return None
    prompts = [example.prompt for example in held_out.validation]
    limit = prompt_limit(config, asked.max_new_tokens)

    def validate(model: nn.Module, template: Template) -> dict[str, float]:
        rollouts = sample(
            model,
            template,
            prompts,
            max_new_tokens=asked.max_new_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=config.seed,
            max_prompt_length=limit,
        )
        examples = to_examples(in_order(rollouts))
        means = {name: float(values.mean()) for name, values in panel.rewards(examples).items()}
        return {
            REWARD: means.pop(REWARD),
            **{f"{REWARD}/{name}": value for name, value in means.items()},
            "failed": float(failed(examples).mean()),
            "answer_tokens": float(np.mean([r.extra["tokens"] for e in examples for r in e.responses])),
        }

    return validate
