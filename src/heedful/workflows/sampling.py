"""`heed sample`: answers of a model to the prompts of a file, written as a file that every reader of ours reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from heedful.evaluation.scenarios import banned_ids
from heedful.examples import load, prompt_key, write_jsonl
from heedful.examples.io import check_writable
from heedful.models import Loaded, load_policy
from heedful.progress import counting, duration
from heedful.rollouts import in_order, to_examples
from heedful.rollouts import sample as sample_prompts
from heedful.rollouts.logprobs import sequence_logps
from heedful.rollouts.settings import SamplingSettings
from heedful.tokens import Template
from heedful.training.metrics import finite
from heedful.training.world import choose_device
from heedful.types import Echo, Example, Rollout, UserError

TRIED_PROMPTS, TRIED_TOKENS = 16, 16
"""What a dry run samples to learn how fast this machine is."""


def sample(
    model: str,
    data: str,
    out: Path | str,
    *,
    control: str | None = None,
    banned: Sequence[str] = (),
    device: str = "auto",
    dry_run: bool = False,
    echo: Echo = print,
    **settings: Any,
) -> Path:
    """Sample answers to the prompts of `data` and write them to `out` (JSON Lines, our schema); returns `out`.

    model: hub name, folder, run folder or checkpoint.  data: anything `heed train data=` takes; its responses are not
    used, and a prompt that occurs several times is asked once.  settings: those of `rollouts.sample`.
    control: the control token to end the prompts with, empty for none; None takes the one the model was saved with.
    banned: tokens that are never sampled.
    dry_run: only say what would be sampled and how long that takes.  echo: where progress lines go.

    Raises UserError for a mistake in any of them.
    """
    SamplingSettings(**{name: value for name, value in settings.items() if name != "max_prompt_length"})
    check_writable(out)
    prompts = distinct_prompts(load(data))
    if not prompts:
        raise UserError(f"{data} has no prompt to answer.")
    if dry_run:
        _describe(model, prompts, out, control, str(choose_device(device)), settings, echo)
        return Path(out)
    examples = sample_examples(model, prompts, control=control, banned=banned, device=device, echo=echo, **settings)
    write_jsonl(examples, out)
    return Path(out)


def sample_examples(
    model: str,
    prompts: list[Example],
    *,
    logps_of: str | None = None,
    control: str | None = None,
    banned: Sequence[str] = (),
    chat_template: str | dict[str, str] | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    echo: Echo = print,
    **settings: Any,
) -> list[Example]:
    """The prompts with answers of `model` instead of their own responses; ids and origins stay.

    logps_of: another model, whose log-probability of each response is written beside the sampler's own, as
    `extra["logp_base"]` beside `extra["logp"]` (nats); it reads the prompt without a control token.  None for -inf: it
    lacks one of the tokens.
    chat_template, trust_remote_code: as the settings `template` and `trust_remote_code` of a run.
    """
    loaded = load_policy(model, device=choose_device(device), trust_remote_code=trust_remote_code)
    template = Template.load(loaded.tokenizer, chat_template, control=control)
    total = len(prompts) * settings.get("samples_per_prompt", 1)
    if banned:
        settings["banned_ids"] = banned_ids(template, banned)
    sampled = _sampled(loaded, prompts, template, want_logps=logps_of is not None, **settings)
    rollouts = in_order(with_progress(sampled, total, "answers", echo))
    answered = to_examples(rollouts, source=model)
    if logps_of is not None:
        other = load_policy(logps_of, device=choose_device(device), trust_remote_code=trust_remote_code).model
        logps = iter(sequence_logps(other, [_without_control(rollout, template) for rollout in rollouts]))
        for response in (r for example in answered for r in example.responses):
            response.extra["logp_base"] = finite(next(logps))
    for example, prompt in zip(answered, prompts, strict=True):
        example.id, example.origin = prompt.id, prompt.origin
    return answered


def with_progress(items: Iterable[Any], total: int, what: str, echo: Echo) -> Iterator[Any]:
    """The items; how many have passed is counted for a person."""
    count = counting(what, echo)
    for done, item in enumerate(items, start=1):
        yield item
        count(done, total)


def _without_control(rollout: Rollout, template: Template) -> Rollout:
    """As a model reads it that knows no control tokens."""
    return replace(rollout, prompt_ids=rollout.prompt_ids[: len(rollout.prompt_ids) - len(template.control_ids)])


def _sampled(loaded: Loaded, prompts: list[Example], template: Template, **settings: Any) -> Iterator[Rollout]:
    names = [prompt.origin or f"prompt {index}" for index, prompt in enumerate(prompts)]
    return sample_prompts(loaded.model, template, [e.prompt for e in prompts], names=names, **settings)


def _describe(
    model: str,
    prompts: list[Example],
    out: Path | str,
    control: str | None,
    device: str,
    settings: dict[str, Any],
    echo: Echo,
) -> None:
    asked = SamplingSettings(**{name: value for name, value in settings.items() if name != "max_prompt_length"})
    loaded = load_policy(model, device=device)
    size = sum(parameter.numel() for parameter in loaded.model.parameters())
    began = time.monotonic()
    tried = list(
        _sampled(
            loaded,
            prompts[:TRIED_PROMPTS],
            Template.load(loaded.tokenizer, control=control),
            **{**settings, "max_new_tokens": min(TRIED_TOKENS, asked.max_new_tokens), "min_new_tokens": 0},
        )
    )
    seconds_a_token = (time.monotonic() - began) / sum(len(rollout.response_ids) for rollout in tried)
    answers = len(prompts) * asked.samples_per_prompt
    for line in (
        f"would sample {answers:,} answers of at most {asked.max_new_tokens:,} tokens to {len(prompts):,} prompts",
        f"with {loaded.path}, {size:,} parameters ({4 * size / 2**30:.1f} GiB), on {device}",
        f"in at most about {duration(seconds_a_token * answers * asked.max_new_tokens)}, as far as "
        f"{len(tried)} short answers tell",
        f"into {out}; nothing was written there",
    ):
        echo(line)


def distinct_prompts(examples: list[Example]) -> list[Example]:
    """The first example of each prompt, in order.  Documents have no prompt and are left out."""
    found: dict[Any, Example] = {}
    for example in examples:
        if example.prompt:
            found.setdefault(prompt_key(example), example)
    return list(found.values())
