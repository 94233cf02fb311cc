"""The one example: a prompt with K responses.  Plain dataclasses; no torch, nothing heavy.

K = 1 is a demonstration, an unpaired judgement, an offline-RL row or a document; K = 2 a preference pair;
K > 2 a ranking or the samples of an online step.  Labels hang on the response, or between responses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Echo = Callable[[str], None]
"""Where lines for a person go."""

TEXT = "text"
"""Role of a message that is rendered verbatim, outside any chat template (plain prompts, completions, documents)."""


class UserError(ValueError):
    """A mistake of the user's: one sentence that names it and how to mend it.  The command exits with status 2."""


class RunError(RuntimeError):
    """A run that failed for a reason that is not the user's command line.  The command exits with status 1."""


class Interrupted(Exception):
    """A run stopped by a signal, after saving.  The command exits with status 128 + the signal's number."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


@dataclass(slots=True)
class Message:
    """One turn.

    role: `system`, `user`, `assistant`, `tool`, or `text` (rendered verbatim, no template).
    content: what was said.
    trained: for an assistant turn of a response, whether its tokens may enter a loss.
    """

    role: str
    content: str
    trained: bool = True


@dataclass(slots=True)
class Span:
    """A score of characters [start, end) of a response's last message."""

    start: int
    end: int
    score: float


@dataclass(slots=True)
class Response:
    """One answer to the prompt and every label that hangs on it.  None means "not judged"."""

    messages: list[Message]
    reward: float | None = None
    cost: float | None = None
    desirable: bool | None = None
    safe: bool | None = None
    harm_categories: list[str] = field(default_factory=list)
    severity: int | None = None
    rank: int | None = None
    """1 is best; equal ranks are ties."""
    weight: float | None = None
    spans: list[Span] = field(default_factory=list)
    source: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The content of the last message."""
        return self.messages[-1].content if self.messages else ""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.text.strip()

    @property
    def is_unfinished(self) -> bool:
        """Whether it is a sample that ran into the length limit; a person's answer did not."""
        return self.extra.get("finished") is False


@dataclass(slots=True)
class Example:
    """A prompt with K responses and the judgements between them.

    prompt: the dialogue so far (system and user turns, earlier answers); empty for a document.
    better, safer: index of the response a human preferred, or judged safer; None when nobody judged, or a tie.
    strength: how much better (data's own units; larger is stronger).
    margin: reward margin asked between the better response and the other (Bradley-Terry objectives).
    id: stable name of the row; origin: the file (or hub name) and row it was read from, for messages.
    """

    prompt: list[Message]
    responses: list[Response]
    better: int | None = None
    safer: int | None = None
    strength: float | None = None
    margin: float | None = None
    id: str | None = None
    source: str | None = None
    origin: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Rollout:
    """A sampled response: what was asked, what came, with which seed, and whether it ended by itself.

    text: the answer as a person reads it.  prompt_ids, response_ids: the tokens the model read and sampled.
    logps: log-probability of each sampled token under the model that sampled it, nats; None if nobody asked.
    finished: whether the model ended its answer (a stop token or stop string); else it ran into the length limit.
    prompt_index, sample_index: which of the prompts, and which of that prompt's samples.
    """

    prompt: list[Message]
    text: str
    prompt_ids: list[int]
    response_ids: list[int]
    logps: list[float] | None
    finished: bool
    seed: int
    prompt_index: int
    sample_index: int
