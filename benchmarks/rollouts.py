"""Sampling K answers a prompt at their natural lengths: `heedful.rollouts.sample` against Transformers' `generate`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Effort
from benchmarks.corpus import Corpus, read_jsonl
from benchmarks.heed_side import HeedRun
from benchmarks.settings import clock
from benchmarks.summary import ratio, summarise
from heedful.rollouts import sample
from heedful.tokens.templates import Template
from heedful.types import Message

SAMPLES_PER_PROMPT = (4, 8)
PROMPTS = 8
MAX_NEW_TOKENS = 192
LESSON_LR = 3e-3
"""For a few dozen steps of SFT: enough for the model to end its answers about where people end theirs."""


def rollouts(corpus: Corpus, work: Path, effort: Effort) -> dict[str, Any]:
    """Seconds per generated token (the stop token included) of both, by turns, for each K; and mean lengths."""
    lesson = HeedRun(corpus, "sft", work, {"lr": LESSON_LR})
    lesson.prepare_loop()
    lesson.train()
    model, tokenizer = lesson.context.loaded.model, lesson.context.loaded.tokenizer
    template = lesson.context.template
    prompts = [row["prompt"] for row in read_jsonl(corpus.pairs)[: PROMPTS if effort.rounds > 1 else 2]]
    found: dict[str, Any] = {"prompts": len(prompts), "lesson_steps": lesson.loop.trainer.step}
    for count in SAMPLES_PER_PROMPT:
        seconds, lengths = defaultdict(list), defaultdict(list)
        for number in effort.each():
            for name, run in (
                ("heedful", lambda c=count, n=number: _heedful(model, template, prompts, c, n)),
                ("generate", lambda c=count, n=number: _generate(model.inner, tokenizer, prompts, c, n)),
            ):
                began = clock()
                tokens = run()
                seconds[name].append((clock() - began) / tokens)
                lengths[name].append(tokens / (len(prompts) * count))
        found[f"K={count}"] = {
            **summarise(seconds, digits=7),
            "mean_length": {name: round(sum(values) / len(values), 1) for name, values in lengths.items()},
            "ratios": {"generate/heedful": round(ratio(seconds, "generate", "heedful"), 3)},
        }
    return found


def _heedful(model: Any, template: Template, prompts: list[Any], count: int, seed: int) -> int:
    messages = [[Message(turn["role"], turn["content"]) for turn in prompt] for prompt in prompts]
    samples = sample(model, template, messages, samples_per_prompt=count, max_new_tokens=MAX_NEW_TOKENS, seed=seed)
    return sum(len(rollout.response_ids) for rollout in samples)


def _generate(model: Any, tokenizer: Any, prompts: list[Any], count: int, seed: int) -> int:
    torch.manual_seed(seed)
    texts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    model.eval()
    with torch.inference_mode():
        out = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=count,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    model.train()
    ended = (out[:, inputs["input_ids"].shape[1] :] == tokenizer.eos_token_id).int()
    width = ended.shape[1]
    first = torch.where(ended.any(1), ended.argmax(1) + 1, width)
    return int(first.sum())
