"""How a project's work is given out and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Ge(0), Le(1)]


MOST_PRIORITY = 1000
"""Of an item, above or below 0; thousandths count."""

MOST_ANSWERS = 1_000_000_000
"""That one person may be allowed."""
LONGEST_LEASE_S = 366 * 86_400.0


class ProjectSettings(BaseModel):
    """Settings of a project's version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: Annotated[int, Ge(1), Le(100)] = Field(
        default=1, description="answers wanted of every item, each of another person"
    )
    lease_s: Annotated[float, Gt(0), Le(LONGEST_LEASE_S)] = Field(
        default=1800.0, description="after how long without a sign of life work goes to another"
    )
    blind: bool = Field(default=True, description="whether labellers do not learn where responses come from")
    shuffle: bool = Field(
        default=True, description="whether every labeller sees the responses in an order of their own"
    )
    min_dwell_ms: Annotated[int, Ge(0), Le(60_000)] = Field(
        default=600, description="keys pressed sooner after an item appears do nothing"
    )
    suspect_ms: Annotated[int, Ge(0), Le(3_600_000)] = Field(
        default=1500, description="answers faster than this are marked as suspect"
    )
    assign: Literal["order", "random", "fewest_first", "priority"] = Field(
        default="order",
        description="which item comes next: in order, at random, the one with fewest answers, the most urgent",
    )
    gold_rate: Share = Field(default=0.0, description="share of items served whose answer is known")
    gold: Literal["silent", "training"] = Field(
        default="silent", description="whether labellers learn what was expected of gold"
    )
    gold_tolerance: dict[str, Annotated[int, Ge(0)]] = Field(
        default={},
        description="by how much an answer to gold may differ and be right, by strength, ranking, rating.DIMENSION, "
        "severity or confidence",
    )
    pause_below: Share = Field(
        default=0.0,
        description="who answers a smaller share of silent gold as expected is paused at the next wrong answer to it; "
        "0 pauses nobody",
    )
    pause_after: Annotated[int, Ge(1), Le(1000)] = Field(
        default=10, description="of how many of their last answers to silent gold that share is"
    )
    repeat_rate: Share = Field(default=0.0, description="share of items served that the labeller has answered before")
    repeat_after: Annotated[int, Ge(1), Le(MOST_ANSWERS)] = Field(
        default=20, description="answers that lie between an item and its repetition"
    )
    max_per_user: Annotated[int, Ge(1), Le(MOST_ANSWERS)] | None = Field(
        default=None, description="answers that one person may give"
    )
    undo_window: Annotated[int, Ge(0), Le(10_000)] = Field(
        default=20, description="how many of their last answers a labeller may change"
    )
    show_suggestions: bool = Field(default=False, description="whether labellers see what a model suggests")
    seed: Annotated[int, Ge(-(2**63)), Le(2**63 - 1)] = Field(default=0, description="seed of orders, gold and repeats")
