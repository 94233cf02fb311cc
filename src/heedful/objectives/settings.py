"""Types for an objective's settings: the signature is the schema."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
FlipRate = Annotated[float, Ge(0), Lt(0.5)]
"""How often a label is wrong; at one half it would say nothing."""

Share = Annotated[float, Ge(0), Le(1)]
Clip = NonNegative | None
"""How far a ratio of probabilities may leave 1; null does not bound it."""
