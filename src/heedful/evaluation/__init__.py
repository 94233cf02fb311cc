"""What came out: metrics of texts that a model wrote."""

from heedful.evaluation.text_metrics import (
    Extractiveness,
    distinct_n,
    distinct_per_word,
    extractiveness,
    fragments,
    response_length,
    summary,
)

__all__ = [
    "Extractiveness",
    "distinct_n",
    "distinct_per_word",
    "extractiveness",
    "fragments",
    "response_length",
    "summary",
]
