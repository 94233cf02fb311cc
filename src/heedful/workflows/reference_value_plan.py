"""What an estimate of values is made from: the prompts, those that are learnt from, and a name for all that counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from heedful.config.within import ValueFitConfig
from heedful.examples.io import row_of
from heedful.models.folders import digest_of, resolve
from heedful.tokens.sampler import permutation
from heedful.training.labels import ValueTask, value_key
from heedful.types import Example, UserError

VERSION = 1
"""Part of every cache key; raise it when the same input would give other values."""


@dataclass(frozen=True)
class Plan:
    """An estimate of values before it is made.

    prompts: every prompt, with its first example, in the order of the data.
    ids: the tokens of each but those that are too long, which training leaves out too.  limit: how long one may be.
    learnt: the prompts that heads learn from.
    model: the reference policy.  reads: who it is, and all that decides which tokens it reads.
    key: equal for two plans only if all that they come to is.
    """

    task: ValueTask
    prompts: dict[Hashable, Example]
    ids: dict[Hashable, list[int]]
    limit: int
    learnt: list[Hashable]
    model: str
    reads: list[Any]
    key: str

    @property
    def fit(self) -> ValueFitConfig:
        """The settings of the estimate."""
        return self.task.config.value_fit

    def __str__(self) -> str:
        if self.task.config.value == "data":
            return f"learn them from the rewards of the data, on {len(self.learnt):,} prompts"
        answers = f"{self.fit.samples:,} answers of {self.model} to each of {len(self.learnt):,} prompts"
        return f"sample {answers}, of at most {self.fit.max_new_tokens:,} tokens, and score them"


def make_plan(task: ValueTask) -> Plan:
    """The plan of a task.  Raises UserError for a reference or a scorer that is not there."""
    config, template = task.config, task.template
    limit = config.max_prompt_length or config.max_length - 1
    prompts: dict[Hashable, Example] = {}
    for example in (*task.train, *task.held_out):
        prompts.setdefault(value_key(example), example)
    ids = {}
    for key, example in prompts.items():
        try:
            ids[key] = template.encode_prompt(example.prompt, max_prompt_length=limit)
        except UserError:  # too long
            continue
    model, code = config.reference or config.model, config.trust_remote_code
    who = [digest_of(resolve(model, trust_remote_code=code))]
    if config.adapter is not None and config.reference is None:
        who.append(digest_of(resolve(config.adapter, setting="adapter")))
    reads = [VERSION, who, template.chat_template, template.vocabulary.digest(), limit]
    judge = "column" if task.rewards is None else task.rewards.identity()
    data = [[row_of(Example(e.prompt, e.responses)) for e in part] for part in (task.train, task.held_out)]
    settings = [config.value, config.value_fit.model_dump(), config.seed, config.max_length]
    return Plan(task, prompts, ids, limit, _learnt(task, ids), model, reads, digest([reads, settings, judge, data]))


def _learnt(task: ValueTask, ids: dict[Hashable, list[int]]) -> list[Hashable]:
    """The prompts to learn from: for value=reference those of the evaluation set, where there is one."""
    held_out = task.held_out if task.config.value == "reference" else []
    candidates = [key for key in dict.fromkeys(map(value_key, held_out or task.train)) if key in ids]
    chosen = permutation(len(candidates), task.config.seed, 0)[: task.config.value_fit.prompts]
    return [candidates[i] for i in sorted(chosen.tolist())]


def digest(content: Any) -> str:
    """32 hexadecimal digits that name a JSON value."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
