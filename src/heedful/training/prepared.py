"""What a run trains on once its data are read: token stores and their reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heedful.examples import LoadReport
from heedful.tokens.report import DataReport
from heedful.tokens.store import TokenStore


@dataclass(frozen=True)
class PreparedData:
    """Stores and data reports of the training set and, where there is one, the evaluation set.

    sources: what became of every row that was read.
    extras: digests of the examples as they were read, where rewards and values came from, what the advantages are.
    """

    sources: dict[str, LoadReport]
    train: TokenStore
    train_report: DataReport
    evaluation: TokenStore | None
    evaluation_report: DataReport | None
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def stores(self) -> list[TokenStore]:
        """The training set and, where there is one, the evaluation set."""
        return [self.train] if self.evaluation is None else [self.train, self.evaluation]

    def to_json(self) -> dict[str, Any]:
        """What goes into data.json."""
        parts: dict[str, Any] = {"sources": {name: source.to_json() for name, source in self.sources.items()}}
        parts["train"] = self.train_report.to_json()
        if self.evaluation_report is not None:
            parts["eval"] = self.evaluation_report.to_json()
        return {**parts, **self.extras}
