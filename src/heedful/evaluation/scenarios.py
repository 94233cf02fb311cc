"""Generation scenarios: ways of sampling from a model whose samples are scored.  Korbak et al. 2023, section 4."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import ScenarioConfig, did_you_mean
from heedful.config.watch import Split
from heedful.evaluation.self_bleu import self_bleu
from heedful.evaluation.text_metrics import distinct_ngrams, expected_max, ngram_entropy, response_length
from heedful.rollouts import in_order, sample
from heedful.scorers import Scorer
from heedful.scorers.documents import judge_documents, scores_of
from heedful.tokens.templates import Template
from heedful.types import TEXT, Message, Rollout, UserError

CONTROL = re.compile(r"<\|[^|<>\s]+\|>")
MAX_OF = 25
"""Samples of which the worst is expected: `score_max@25`."""


@dataclass(frozen=True)
class ScenarioResult:
    """metrics: by name.  rows: every sample with its prompt and score."""

    metrics: dict[str, float]
    rows: list[dict[str, Any]]


class Beginnings:
    """A document's beginning as a prompt: the token that starts a text, then the text, control tokens included."""

    def __init__(self, template: Template) -> None:
        self.vocabulary, self.stop_ids, self.start = template.vocabulary, template.stop_ids, template.start_id

    def encode_prompt(self, messages: Sequence[Message], *, max_prompt_length: int | None = None) -> list[int]:
        """The tokens of one text message."""
        ids = [self.start, *self.vocabulary.encode([messages[0].content])[0]]
        return ids if max_prompt_length is None else ids[:max_prompt_length]

    def decode_response(self, ids: Sequence[int], prompt: Sequence[Message] | None = None) -> str:
        """The text of a sample, without control tokens, up to what ended it."""
        end = next((i for i, index in enumerate(ids) if index in self.stop_ids), len(ids))
        before = self.vocabulary.encode([prompt[0].content])[0] if prompt else []
        kept = [index for index in ids[:end] if index not in self.vocabulary.special_ids]
        return self.vocabulary.continuation(before, kept)


def continuations(model: Any, template: Template, texts: Sequence[str], **sampling: Any) -> list[Rollout]:
    """Samples of what follows each text, by text and then by sample.  sampling: what `rollouts.sample` takes."""
    return in_order(sample(model, Beginnings(template), [[Message(TEXT, text)] for text in texts], **sampling))


def read_prompts(name: str | None, setting: str = "prompts") -> list[str]:
    """The prompts of a scenario: of a file (JSON Lines with `text`), or of one that comes with the recipes.

    setting: what named it.  Raises UserError for a file that is not there, or holds something else.
    """
    if name is None:
        return [""]
    path = Path(name).expanduser()
    if not path.exists():
        from heedful.recipes import resource

        path = resource(f"{name}.jsonl") or path
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(
            f"{setting}={name} cannot be read ({problem}); give a file of JSON Lines with `text`."
        ) from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            text = json.loads(line)["text"] if line.strip() else None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}:{number}: a prompt is a line of JSON with a `text`.") from None
        if text is not None:
            found.append(str(text))
    if not found:
        raise UserError(f"{path} holds no prompt.")
    return found


def banned_ids(template: Template, names: Sequence[str]) -> list[int]:
    """The ids of tokens by name.  Raises UserError for one that the tokenizer lacks."""
    known = template.vocabulary.tokenizer.get_vocab()
    if missing := [name for name in names if name not in known]:
        raise UserError(f"banned: the tokenizer has no token {missing[0]!r}; leave it out.")
    return [int(known[name]) for name in names]


def check_prefix(template: Template, prefix: str, setting: str = "prefix") -> None:
    """Raises UserError for a control token that the tokenizer lacks: the model would read it letter by letter."""
    known = template.vocabulary.tokenizer.get_vocab()
    for name in CONTROL.findall(prefix):
        if name not in known:
            near = did_you_mean(name, CONTROL.findall(" ".join(known)))
            raise UserError(f"{setting}: the tokenizer has no token {name}{near}")


def run_scenario(
    model: Any, template: Template, scorer: Scorer, scenario: ScenarioConfig, *, seed: int, split: Split = "own"
) -> ScenarioResult:
    """Sample as the scenario says, score the samples, and measure them as texts.

    The model is in evaluation mode; prompts are taken in turn until there are `num_samples`.  A sample that the scorer
    cannot judge is counted (`failed`), not scored.
    """
    check_prefix(template, scenario.prefix)
    check_prefix(template, scenario.suffix, "suffix")
    texts = [scenario.prefix + text + scenario.suffix for text in read_prompts(scenario.prompts)]
    each, rest = divmod(scenario.num_samples, len(texts))
    asked = texts if not rest else [texts[i % len(texts)] for i in range(scenario.num_samples)]
    began = time.perf_counter()
    rollouts = continuations(
        model,
        template,
        asked,
        samples_per_prompt=1 if rest else each,
        max_new_tokens=scenario.max_new_tokens,
        min_new_tokens=scenario.min_new_tokens,
        banned_ids=banned_ids(template, scenario.banned),
        temperature=scenario.temperature,
        top_p=scenario.top_p,
        top_k=scenario.top_k,
        batch_rows=scenario.batch_rows,
        seed=seed,
    )
    seconds = time.perf_counter() - began
    prompts = [_plain(template, rollout.prompt[0].content) for rollout in rollouts]
    samples = [rollout.text for rollout in rollouts]
    judged = [p + s for p, s in zip(prompts, samples, strict=True)] if scenario.score_prompt else samples
    found = scores_of(judge_documents(scorer, judged, split))
    scores = [score for score in found if score is not None]
    rows = [
        {"prompt": prompt, "text": text, "score": score}
        for prompt, text, score in zip(prompts, samples, found, strict=True)
    ]
    metrics = {
        **score_metrics(scores, scenario.hit_threshold),
        "failed": 1 - len(scores) / len(found),
        "finished": float(np.mean([rollout.finished for rollout in rollouts])),
        **sample_metrics(samples),
        "samples_per_s": len(samples) / seconds,
    }
    return ScenarioResult(metrics, rows)


def score_metrics(scores: Sequence[float], hit_threshold: float) -> dict[str, float]:
    """Mean, share above the threshold, largest, and expected largest of 25; nothing of no scores."""
    if not scores:
        return {}
    found = {
        "score": float(np.mean(scores)),
        "hits": float(np.mean(np.asarray(scores) > hit_threshold)),
        "score_max": float(max(scores)),
    }
    worst = expected_max(scores, MAX_OF)
    return found if worst is None else {**found, f"score_max@{MAX_OF}": worst}


def sample_metrics(texts: Sequence[str]) -> dict[str, float]:
    """Length, distinct n-grams, their entropy, and self-BLEU by words and by characters."""
    found: dict[str, float | None] = {
        "words": response_length(texts),
        "characters": float(np.mean([len(text) for text in texts])) if texts else 0.0,
        **{f"distinct_{n}": distinct_ngrams(texts, n) for n in (1, 2)},
        **{f"entropy_{n}": ngram_entropy(texts, n) for n in (1, 2)},
        "self_bleu_words": self_bleu(texts, unit="words"),
        "self_bleu_characters": self_bleu(texts, unit="characters"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(template: Template, text: str) -> str:
    """A prompt without the control tokens that it holds."""
    for index in template.vocabulary.special_ids:
        text = text.replace(template.vocabulary.token(index), "")
    return text
