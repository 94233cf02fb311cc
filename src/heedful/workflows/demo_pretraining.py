"""The demo's first act: functions scored line by line, and what models that pretrained on them make of headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heedful.config import ScoreConfig
from heedful.evaluation.scenarios import banned_ids, continuations
from heedful.examples import read_jsonl, write_jsonl
from heedful.models import load_policy
from heedful.rollouts import to_examples
from heedful.tokens.templates import Template
from heedful.training.world import choose_device
from heedful.types import TEXT, Echo, Example, Message, Response
from heedful.workflows.annotating import annotate_documents

ALIGNED, MISALIGNED = "<|aligned|>", "<|misaligned|>"


def score_corpus(functions: Path, documents: Path, scored: Path, echo: Echo) -> None:
    """Header and body of every function as one document, and every line with its violations of PEP 8 a character."""
    whole = [_document(example) for example in read_jsonl(functions)]
    write_jsonl(whole, documents)
    annotate_documents("pep8", ScoreConfig.model_validate({"data": str(documents), "out": scored}), echo=echo)


def _document(example: Example) -> Example:
    text = example.prompt[0].content + example.responses[0].text
    return Example([], [Response([Message(TEXT, text)])], id=example.id, source=example.source)


def sample_bodies(
    folder: Path, headers: Sequence[Example], *, num_samples: int, max_new_tokens: int, seed: int
) -> list[Example]:
    """Bodies for headers by a model that pretrained on documents; one with control tokens is asked for aligned lines.

    The answers are without control tokens, as everything that is compared.
    """
    loaded = load_policy(str(folder), device=choose_device("auto"))
    template = Template.load(loaded.tokenizer, None)
    conditioned = ALIGNED in loaded.tokenizer.get_added_vocab()
    prompts = [example.prompt[0].content for example in headers]
    asked = [_with_controls(prompt) for prompt in prompts] if conditioned else prompts
    rollouts = continuations(
        loaded.model,
        template,
        asked,
        samples_per_prompt=num_samples,
        max_new_tokens=2 * max_new_tokens if conditioned else max_new_tokens,  # control tokens take room too
        banned_ids=banned_ids(template, [MISALIGNED]) if conditioned else (),
        seed=seed,
    )
    answered = to_examples(rollouts, source=str(folder))
    for example, header in zip(answered, headers, strict=True):
        example.prompt, example.id, example.origin = header.prompt, header.id, header.origin
    return answered


def _with_controls(header: str) -> str:
    """The header with the aligned token before each of its lines, and before what follows."""
    return "".join(ALIGNED + line for line in header.splitlines(keepends=True)) + ALIGNED
