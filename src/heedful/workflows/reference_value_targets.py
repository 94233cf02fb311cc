"""What prompts turn out to be worth: the mean reward of the reference's own answers, or of the answers in the data.

Where new texts cannot be judged, since rewards are a column of the data, a head over prompt and response learns that
column first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from heedful.examples import read_jsonl, write_jsonl
from heedful.models import Loaded
from heedful.models.prompt_value import hidden_states
from heedful.progress import counting
from heedful.rollouts import in_order, sample, to_examples
from heedful.scorers.rewards import Scoring
from heedful.tokens.encoded import EncodedExample
from heedful.tokens.sampler import permutation
from heedful.training.labels import value_key
from heedful.training.world import choose_device
from heedful.types import Example, UserError
from heedful.workflows.reference_value_fit import CrossFit, cross_fit, judged
from heedful.workflows.reference_value_plan import Plan, digest

PROMPTS_AT_ONCE = 64
"""Prompts that are answered, and then kept on disk, together."""
MEMORY_BYTES = 2 * 2**30
"""Of the hidden states that heads learn from; texts beyond are not learnt from."""


@dataclass(frozen=True)
class Targets:
    """What each prompt that is learnt from is worth.  name: what is learnt.  report: how it was found."""

    name: str
    worth: dict[Hashable, float]
    report: dict[str, Any] = field(default_factory=dict)


def logged(plan: Plan) -> Targets:
    """The mean reward of each prompt's own responses."""
    rewards: dict[Hashable, list[float]] = {}
    for example in plan.task.train:
        rewards.setdefault(value_key(example), []).extend(rewards_of(example))
    return Targets("value of the logged answers", {key: float(np.mean(rewards[key])) for key in plan.learnt})


def sampled(plan: Plan, loaded: Loaded) -> Targets:
    """The mean reward of the reference's answers to each prompt."""
    task, report = plan.task, {}
    answers = answers_of(plan, loaded)
    if task.rewards is not None and task.rewards.scores_samples:

        def counted(name: str):
            return counting(f"answers scored by {name}", task.echo)

        scoring = Scoring(task.cache_dir, str(choose_device(task.config.device)), counted, task.echo)
        rewards = [rewards_of(example) for example in task.rewards.attach(answers, scoring)]
    else:
        model, report["reward model fitted on the data"] = fit_on_column(plan, loaded)
        rewards = [_judged(plan, loaded, model, example) for example in answers]
    report |= {"samples": plan.fit.samples, "mean reward of the reference": float(np.mean(np.concatenate(rewards)))}
    worth = {key: float(np.mean(row)) for key, row in zip(plan.learnt, rewards, strict=True)}
    return Targets("value of the reference", worth, report)


def answers_of(plan: Plan, loaded: Loaded) -> list[Example]:
    """The reference's own answers to the prompts that are learnt from; those a killed run had are not sampled again."""
    task, fit, prompts = plan.task, plan.fit, [plan.prompts[key] for key in plan.learnt]
    sampling = [fit.samples, fit.max_new_tokens, fit.temperature, task.config.seed]
    name = digest([plan.reads, sampling, [plan.ids[key] for key in plan.learnt]])
    folder = task.cache_dir / "values" / f"answers-{name}"
    count = counting("prompts answered by the reference", task.echo)
    answers: list[Example] = []
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        part, file = prompts[start : start + PROMPTS_AT_ONCE], folder / f"{start:06d}.jsonl"
        if not file.is_file():
            rollouts = sample(
                loaded.model,
                task.template,
                [example.prompt for example in part],
                samples_per_prompt=fit.samples,
                max_new_tokens=fit.max_new_tokens,
                temperature=fit.temperature,
                seed=task.config.seed,
                max_prompt_length=plan.limit,
                names=[example.origin or "a prompt" for example in part],
            )
            folder.mkdir(parents=True, exist_ok=True)
            write_jsonl(to_examples(in_order(rollouts)), file)
        answers += read_jsonl(file)
        count(len(answers), len(prompts))
    for answer, prompt in zip(answers, prompts, strict=True):
        answer.origin = f"an answer of the reference to {prompt.origin}"
    return answers


def fit_on_column(plan: Plan, loaded: Loaded) -> tuple[CrossFit, dict[str, Any]]:
    """A regression of the data's rewards on prompt and response, and how well it foretells those of other prompts."""
    number_of, seed = {key: number for number, key in enumerate(plan.prompts)}, plan.task.config.seed
    rows = [
        (number_of[value_key(example)], ids, reward)
        for example in plan.task.train
        for ids, reward in zip(_wholes(plan, example), rewards_of(example), strict=True)
        if ids
    ]
    rows = [rows[i] for i in permutation(len(rows), seed, 1)]
    rows = rows[: that_fit([len(ids) for _, ids, _ in rows], loaded)]
    rewards = np.array([reward for *_, reward in rows])
    if not len(rows) or float(np.ptp(rewards)) == 0.0:
        raise UserError(
            "value=reference has nothing to learn how to judge answers from: the rewards of the data are all equal; "
            "name scorers that can judge new texts with rewards=."
        )
    prompt_of = np.unique([number for number, *_ in rows], return_inverse=True)[1]
    fit = plan.fit.model_copy(update={"range": None})
    fitted = cross_fit(states_of(loaded, [ids for _, ids, _ in rows]), rewards, prompt_of, fit, seed)
    return fitted, judged(fitted.held_out, rewards)


def _judged(plan: Plan, loaded: Loaded, model: CrossFit, example: Example) -> list[float]:
    # An answer that does not fit after all is judged as what it begins with: its prompt.
    texts = [ids or plan.ids[value_key(example)] for ids in _wholes(plan, example)]
    return model(states_of(loaded, texts)).tolist()


def _wholes(plan: Plan, example: Example) -> list[list[int]]:
    """The tokens of prompt and response of each response; none for one that does not fit."""
    found = []
    for response in example.responses:
        alone = Example(example.prompt, [response])
        [item, *_] = plan.task.template.encode([alone], max_length=plan.task.config.max_length)
        if not isinstance(item, EncodedExample):
            found.append([])
            continue
        ids = [*item.prompt_ids.tolist(), *item.responses[0].ids.tolist()]
        # What did not end is not judged as if it had.
        found.append(ids[:-1] if response.is_unfinished else ids)
    return found


def states_of(loaded: Loaded, texts: Sequence[Sequence[int]]) -> list[Float[Tensor, "l D"]]:
    """Hidden states of the texts, in their order."""
    found = dict(hidden_states(loaded.model, texts))
    return [found[i] for i in range(len(texts))]


def that_fit(lengths: Sequence[int], loaded: Loaded) -> int:
    """How many texts, from the first on, have hidden states that fit in memory together."""
    width = loaded.config.get_text_config().hidden_size
    return int(np.searchsorted(np.cumsum(lengths) * 4 * width, MEMORY_BYTES, side="right"))


def rewards_of(example: Example) -> list[float]:
    """The rewards of an example's responses.  Raises UserError if one has none."""
    rewards = [response.reward for response in example.responses if response.reward is not None]
    if len(rewards) < len(example.responses):
        raise UserError(
            f"a response of {example.origin} has no reward to learn values from; compose rewards with rewards=SCORER."
        )
    return rewards
