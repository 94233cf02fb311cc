"""How much a language model of a size should have learnt from so many tokens."""

from __future__ import annotations


def expected_loss(num_parameters: int, num_tokens: float) -> float:
    """The loss that a language model with N parameters is expected to reach on D tokens of web text, nats a token.

    L = 1.69 + 406.4/N^0.34 + 410.7/D^0.28.  Hoffmann et al. 2022, eq. 10, arXiv:2203.15556.
    Raises ValueError for a model or a number of tokens of nothing.
    """
    if num_parameters <= 0 or num_tokens <= 0:
        raise ValueError(f"N={num_parameters} parameters and D={num_tokens} tokens must both be above 0")
    return 1.69 + 406.4 / num_parameters**0.34 + 410.7 / num_tokens**0.28
