"""What a tokenised example is: prompt tokens once, then every response's own tokens and which of them are trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32


@dataclass(slots=True)
class EncodedResponse:
    """One response's tokens, from the prompt's boundary to the end of the turn (EOS included)."""

    ids: Int32[np.ndarray, " L"]
    trained: Bool[np.ndarray, " L"]
    """True where the token enters a loss: assistant text, and the token that ends it."""
    scores: Float32[np.ndarray, " L"] | None = None
    """Each token's misalignment score, of scored documents; lower is better."""


@dataclass(slots=True)
class EncodedExample:
    """A prompt's tokens and those of its K responses; every sequence is `prompt_ids + response.ids`.

    row: index of the example in the sequence that was encoded (a long document becomes several of these).
    dropped_turns: oldest turns left out so that the rest fits.
    cut_tokens: tokens cut from the left of a verbatim (`text`) prompt so that the rest fits.
    retokenised: responses whose first characters would have merged with the prompt's last token, and which were
        therefore tokenised on their own, as a sampler would have produced them.
    chunk, num_chunks: which piece of a document that is longer than `max_length` this is.
    cut_mismatched: whether its mismatched answer is cut short so that it fits behind this prompt.
    """

    prompt_ids: Int32[np.ndarray, " P"]
    responses: list[EncodedResponse]
    row: int = 0
    dropped_turns: int = 0
    cut_tokens: int = 0
    retokenised: int = 0
    chunk: int = 0
    num_chunks: int = 1
    cut_mismatched: bool = False

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest response."""
        return len(self.prompt_ids) + max((len(response.ids) for response in self.responses), default=0)
