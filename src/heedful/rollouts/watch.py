"""What a training run shows to whoever watches it, and what comes back: the words that training and watching share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Segment:
    """A sequence that was trained on in the last step.

    text: decoded, without control tokens.  scores: of each token, as training saw them.  controls: the control tokens
    it carried, in their order.  origin: the document it comes from.  pieces: its tokens decoded where they stand,
    control tokens too, in runs of one score; none of documents without scores.
    """

    text: str
    scores: list[float]
    controls: list[str]
    origin: str
    pieces: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class WatchResult:
    """metrics: by the names they are logged under.  rows: samples and segments, for `watched.jsonl` and the report."""

    metrics: dict[str, float]
    rows: list[dict[str, Any]] = field(default_factory=list)


class Watch(Protocol):
    """Looks at a model between steps.  The same model at the same step gives the same, but for times."""

    def __call__(self, step: int, model: Any, template: Any, segments: Sequence[Segment]) -> WatchResult: ...
