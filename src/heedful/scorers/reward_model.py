"""Scores by a reward model that was trained here, or any sequence classifier with one label."""

from __future__ import annotations

from collections.abc import Sequence
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

    def score(self, examples: Sequence[Example]) -> list[list[float]]:
        """The score of each response of each example; larger is better.

        Raises UserError for an example that does not fit `max_length` or cannot be rendered.
        """
        scores = np.full(sum(len(e.responses) for e in examples), np.nan)
        encoded = [self._encoded(e) for e in examples]
        with torch.inference_mode():
            for pack in packs_of(encoded, examples):
                found = self.loaded.model(to_tensors(pack, self.loaded.model.device), {"scores"})["scores"]
                scores[pack.response_rows] = found.cpu().numpy()
        ends = np.cumsum([len(e.responses) for e in examples])[:-1]
        return [part.tolist() for part in np.split(scores, ends)]

    def _encoded(self, example: Example) -> EncodedExample:
        found = self.template.encode([example], max_length=self.max_length)
        if len(found) != 1 or not isinstance(found[0], EncodedExample):
            reason = getattr(found[0], "reason", "it is longer than a document may be") if found else "nothing is left"
            raise UserError(f"{example.origin or 'An example'} cannot be scored: {reason}.")
        return found[0]

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
        return Scorer(self.name, function, False, None, about, on_examples)
