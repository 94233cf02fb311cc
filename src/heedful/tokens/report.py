"""What the data check found: every example accounted for, what was left out and why, and what looks wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from heedful.types import UserError

NAMED = 5
"""Origins kept for each reason and finding."""


@dataclass(slots=True)
class Tally:
    """A count and the first few origins it was counted at."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, origin: str | None) -> None:
        self.count += 1
        if origin is not None and len(self.first) < NAMED:
            self.first.append(origin)


@dataclass(slots=True)
class Finding:
    """Something a person should know about the data.

    code: stable name, for tests and tables.  sentence: what is wrong and what it means for training.
    """

    code: str
    sentence: str
    count: int
    first: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        where = f" (first: {', '.join(self.first)})" if self.first else ""
        return f"{self.count:,} × {self.sentence}{where}"


@dataclass(slots=True)
class DataReport:
    """The data check's result.  Law: `num_in == num_trained + num_dropped`.

    num_in: examples after shaping and those that shaping dropped.  dropped: reason to tally.
    tokens: sums of `prompt`, `response` and `trained` tokens; prompts counted once.
    lengths: for `sequence` (prompt with its longest response), `prompt` and `response`: min, median, 90 %, max.
    truncated: examples and turns left out, verbatim prompts and tokens cut, documents and the chunks they became.
    digest: of the token store.
    """

    num_in: int = 0
    num_trained: int = 0
    num_responses: int = 0
    dropped: dict[str, Tally] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    digest: str = ""

    @property
    def num_dropped(self) -> int:
        """Examples left out, for whatever reason."""
        return sum(tally.count for tally in self.dropped.values())

    def drop(self, reason: str, origin: str | None) -> None:
        """Count one example that is left out."""
        self.dropped.setdefault(reason, Tally()).add(origin)

    def to_json(self) -> dict[str, Any]:
        """For `data.json`."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> DataReport:
        """The report that `to_json` wrote."""
        report = DataReport(**value)
        report.dropped = {reason: Tally(**tally) for reason, tally in value["dropped"].items()}
        report.warnings = [Finding(**finding) for finding in value["warnings"]]
        report.errors = [Finding(**finding) for finding in value["errors"]]
        return report

    def raise_for_errors(self) -> None:
        """Raise UserError if the data cannot be trained on."""
        if self.errors:
            raise UserError("The data cannot be trained on: " + "; ".join(error.line for error in self.errors) + ".")

    def lines(self) -> list[str]:
        """The report as text, the most important first."""
        lines = [f"error: {error.line}" for error in self.errors]
        lines.append(f"{self.num_in:,} examples: {self.num_trained:,} trained on, {self.num_dropped:,} dropped")
        for reason, tally in sorted(self.dropped.items(), key=lambda item: -item[1].count):
            lines.append(f"dropped: {Finding('', reason, tally.count, tally.first).line}")
        lines += [f"warning: {warning.line}" for warning in self.warnings]
        lines += [f"{count:,} {what}" for what, count in self.truncated.items() if count]
        if self.tokens:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in self.tokens.items())
            lines.append(f"{self.num_responses:,} responses; tokens: {counts}")
        for kind, (least, median, most_of, most) in self.lengths.items():
            lines.append(f"{kind} length in tokens: {least} to {most:,}, median {median:,}, 90 % up to {most_of:,}")
        return lines + [f"note: {note}" for note in self.notes]
