"""Scores by a reward model that was trained here, or any sequence classifier with one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from heedful.models import Loaded, load_policy, resolve, to_tensors
from heedful.models.folders import is_adapter, read_json
from heedful.scorers.packing import packs_of
from heedful.scorers.scorer import Scorer
from heedful.tokens import Template
from heedful.tokens.encoded import EncodedExample
from heedful.types import TEXT, Example, Message, Response, UserError


def _check_has_head(name: str) -> None:
    """Raise UserError for a language model: its head would be new, and its scores noise."""
    folder = Path(resolve(name))
    if is_adapter(folder):
        scores = read_json(folder / "adapter_config.json").get("task_type") == "SEQ_CLS"
    else:
        made = read_json(folder / "config.json").get("architectures") or []
        scores = any("ForSequenceClassification" in architecture for architecture in made)
    if not scores:
        raise UserError(f"{name} is a language model, not a reward model; heed train reward model={name} … makes one")


class RewardModel:
    """A loaded reward model.

    name: hub name, folder, run folder or checkpoint.  max_length: of a prompt with its response; the model's own
    context if None.
    """

    def __init__(self, name: str, *, device: str = "cpu", max_length: int | None = None) -> None:
        _check_has_head(name)
        self.name = Path(name).name
        self.loaded: Loaded = load_policy(name, kind="score", device=device)
        self.loaded.model.eval()
        self.template = Template.load(self.loaded.tokenizer)
        self.max_length = max_length or self.loaded.max_length or 1024
        self.num_scored = self.num_cut = 0

    def score(self, examples: Sequence[Example]) -> list[list[float]]:
        """The score of each response of each example; larger is better.

        Where a prompt and its response are longer than `max_length`, the prompt loses its oldest turns (a plain one its
        beginning).  Raises UserError for a response that does not fit even so, or cannot be rendered.
        """
        parts = [part for example in examples for part in self._parts(example)]
        encoded = [replace(item, row=row) for row, (item, _) in enumerate(parts)]
        scores = np.full(sum(len(e.responses) for e in examples), np.nan)
        with torch.inference_mode():
            for pack in packs_of(encoded, [example for _, example in parts]):
                found = self.loaded.model(to_tensors(pack, self.loaded.model.device), {"scores"})["scores"]
                scores[pack.response_rows] = found.cpu().numpy()
        ends = np.cumsum([len(e.responses) for e in examples])[:-1]
        return [part.tolist() for part in np.split(scores, ends)]

    def note(self) -> str:
        """How many prompts were shortened, or nothing."""
        what = f"longer than {self.max_length:,} tokens with their response and lost their beginning"
        return f"{self.num_cut:,} of {self.num_scored:,} prompts were {what}" if self.num_cut else ""

    def _parts(self, example: Example) -> list[tuple[EncodedExample, Example]]:
        """The example tokenised, its responses sharing the prompt where all of it fits.

        Else each response stands alone: how much it sees of the prompt, and so its score, is no matter of its siblings.
        """
        found = self._encoded(example)
        if isinstance(found, EncodedExample) and not _shortened(found):
            self.num_scored += len(example.responses)
            return [(found, example)]
        parts = []
        for response in example.responses:
            alone = Example(example.prompt, [response], origin=example.origin)
            item = self._encoded(alone)
            if isinstance(item, str):
                raise UserError(f"{example.origin or 'An example'} cannot be scored: {item}.")
            self.num_scored += 1
            self.num_cut += _shortened(item)
            parts.append((item, alone))
        return parts

    def _encoded(self, example: Example) -> EncodedExample | str:
        """The example tokenised, or why it cannot be."""
        found = self.template.encode([example], max_length=self.max_length)
        if len(found) != 1:
            return "it is longer than a document may be" if found else "nothing is left"
        return found[0] if isinstance(found[0], EncodedExample) else found[0].reason

    def scorer(self) -> Scorer:
        """The model as a scorer of examples, and of plain texts."""

        def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
            return on_examples(
                [
                    Example([Message(TEXT, p)] if p else [], [Response([Message(TEXT, r)])])
                    for p, r in zip(prompts, responses, strict=True)
                ]
            )

        def on_examples(examples: Sequence[Example]) -> list[float]:
            return [score for scores in self.score(examples) for score in scores]

        size = sum(parameter.numel() for parameter in self.loaded.model.parameters())
        about = f"the reward model {self.loaded.path} of {size:,} parameters, on {self.loaded.model.device}"
        return Scorer(self.name, function, False, None, about, on_examples, self.note)


def _shortened(item: EncodedExample) -> bool:
    return item.dropped_turns > 0 or item.cut_tokens > 0
