"""`heed sample`: answers of a model to the prompts of a file, written as a file that every reader of ours reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heedful.examples import load, prompt_key, write_jsonl
from heedful.models import load_policy
from heedful.rollouts import in_order, to_examples
from heedful.rollouts import sample as sample_prompts
from heedful.rollouts.logprobs import sequence_logps
from heedful.tokens import Template
from heedful.types import Example, UserError


def sample(model: str, data: str, out: Path | str, *, device: str = "auto", **settings: Any) -> Path:
    """Sample answers to the prompts of `data` and write them to `out` (JSON Lines, our schema); returns `out`.

    model: hub name, folder, run folder or checkpoint.  data: anything `heed train data=` takes; its responses are not
    used, and a prompt that occurs several times is asked once.  settings: those of `rollouts.sample`.

    Raises UserError for a mistake in any of them.
    """
    prompts = distinct_prompts(load(data))
    if not prompts:
        raise UserError(f"{data} has no prompt to answer.")
    examples = sample_examples(model, prompts, device=device, **settings)
    write_jsonl(examples, out)
    return Path(out)


def sample_examples(
    model: str, prompts: list[Example], *, logps_of: str | None = None, device: str = "auto", **settings: Any
) -> list[Example]:
    """The prompts with answers of `model` instead of their own responses; ids and origins stay.

    logps_of: another model, whose log-probability of each response is written beside the sampler's own, as
    `extra["logp_base"]` beside `extra["logp"]` (nats).
    """
    loaded = load_policy(model, device=device_of(device))
    template = Template.load(loaded.tokenizer)
    messages = [e.prompt for e in prompts]
    rollouts = in_order(sample_prompts(loaded.model, template, messages, want_logps=logps_of is not None, **settings))
    answered = to_examples(rollouts, source=model)
    if logps_of is not None:
        other = load_policy(logps_of, device=device_of(device)).model
        logps = iter(sequence_logps(other, rollouts))
        for response in (r for example in answered for r in example.responses):
            response.extra["logp_base"] = next(logps)
    for example, prompt in zip(answered, prompts, strict=True):
        example.id, example.origin = prompt.id, prompt.origin
    return answered


def distinct_prompts(examples: list[Example]) -> list[Example]:
    """The first example of each prompt, in order.  Documents have no prompt and are left out."""
    found: dict[Any, Example] = {}
    for example in examples:
        if example.prompt:
            found.setdefault(prompt_key(example), example)
    return list(found.values())


def device_of(device: str) -> str:
    """`auto` as the best device there is: CUDA, else MPS, else the CPU."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
