"""Control tokens: what an objective wants at the end of the prompt, by the label of the answer that follows."""

from __future__ import annotations

from collections.abc import Callable


def control_tokens(good: str, bad: str) -> Callable[[Callable], Callable]:
    """Declare which settings hold the control tokens of desirable and of undesirable answers.

    The data path makes each a special token, puts it at the end of the prompt, and gives the good one again when the
    trained model is sampled from; the objective itself sees answers only.

    good, bad: names of two of the objective's settings.
    """

    def declare(objective: Callable) -> Callable:
        objective.control_tokens = (good, bad)  # type: ignore[attr-defined]
        return objective

    return declare
