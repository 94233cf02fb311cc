"""Answers to the first evaluation prompts, sampled at every evaluation: `samples.jsonl`, and a table on the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from heedful.config import TrainConfig
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs
from heedful.rollouts import in_order, sample
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.training.metrics import MetricsFile
from heedful.training.trackers import Tracker
from heedful.types import TEXT, Message, UserError

SAMPLES_FILE = "samples.jsonl"
COLUMNS = ("prompt", "answer", "finished")
Validate = Callable[[nn.Module, Template], Mapping[str, float]]
"""What whoever starts a run may hand in to judge the model by its own answers at every evaluation: metrics by name,
which become `eval/NAME`.  The same model must always give the same numbers, so that a resumed run writes them again."""

MAX_NEW_TOKENS = 128
"""Enough to see how a model speaks; an evaluation should not become a sampling run."""


def check_samples(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError if answers are asked of a model that gives none."""
    if config.eval_samples and "scores" in needs(objective):
        raise UserError(
            f"eval_samples={config.eval_samples}: {objective.name} trains a model that gives scores, not answers; "
            "leave eval_samples out."
        )


class TrainedPrompts:
    """Prompts by the tokens that training gave them, so that sampling sees exactly those.

    ids_of: text of the prompt → its tokens.
    """

    def __init__(self, template: Template, store: TokenStore, num: int) -> None:
        """The first `num` distinct prompts of the store."""
        self.vocabulary, self.stop_ids = template.vocabulary, template.stop_ids
        self.ids_of: dict[str, list[int]] = {}
        for row in range(store.num_examples):
            if len(self.ids_of) == num:
                break
            ids = [*store.prompt_tokens(row).tolist(), *template.control_ids]
            self.ids_of.setdefault(self.vocabulary.decode(ids), ids)

    def encode_prompt(self, messages: Sequence[Message], *, max_prompt_length: int | None = None) -> list[int]:
        """The tokens of a prompt."""
        assert max_prompt_length is None, "these prompts were cut when they were trained on"
        return self.ids_of[messages[0].content]

    def decode_response(self, ids: Sequence[int], prompt: Sequence[Message] | None = None) -> str:
        """The text that the tokens add to the prompt's, up to the stop token."""
        end = next((i for i, index in enumerate(ids) if index in self.stop_ids), len(ids))
        before = self.ids_of[prompt[0].content][-8:] if prompt else []
        return self.vocabulary.continuation(before, ids[:end])


class SampleTable:
    """Samples answers and shows them.

    Every evaluation draws with the same random numbers, so what changes from one to the next is the model, and a
    resumed run writes the same answers again.  A row's prompt and answer together are the text that the model read and
    wrote, headers included.
    """

    def __init__(
        self, prompts: TrainedPrompts, model: nn.Module, seed: int, run: Path, resume_step: int | None
    ) -> None:
        """resume_step: lines of later steps are cut off `samples.jsonl` first; None begins an empty one."""
        self.prompts, self.model, self.seed = prompts, model, seed
        self.file = MetricsFile(run / SAMPLES_FILE, resume_step)

    def __call__(self, step: int, tracker: Tracker | None) -> None:
        """Sample now, after `step` steps."""
        asked = [[Message(TEXT, text)] for text in self.prompts.ids_of]
        rollouts = in_order(sample(self.model, self.prompts, asked, max_new_tokens=MAX_NEW_TOKENS, seed=self.seed))
        rows = [(rollout.prompt[0].content, rollout.text, rollout.finished) for rollout in rollouts]
        for row in rows:
            self.file.write({"step": step, **dict(zip(COLUMNS, row, strict=True))})
        if tracker is not None:
            tracker.table("samples", COLUMNS, rows, step)

    def close(self) -> None:
        """Flush to the disk and close."""
        self.file.close()
