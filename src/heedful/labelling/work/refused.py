"""What is not allowed now, and the reasons that a labeller can give."""

from __future__ import annotations

from collections.abc import Mapping

SKIP_REASONS = ("unclear", "cannot_judge", "broken", "language", "disturbing", "other")


FLAG_KINDS = ("broken", "personal_data", "offensive", "guideline_gap", "other")


class Refused(Exception):
    """An act that is not allowed now.

    status: HTTP's number for why.  problems: what is wrong with an answer.  wait_s: after how long it is allowed.
    """

    def __init__(
        self, status: int, sentence: str, problems: Mapping[str, str] | None = None, *, wait_s: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.problems, self.wait_s = status, dict(problems or {}), wait_s
