"""How to sample, checked before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from heedful.types import UserError


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Settings of one sampling run.

    samples_per_prompt: K, how many samples of each prompt.
    max_new_tokens: a sample that has not ended by then is unfinished.
    temperature: 0 takes the most likely token each time; 1 samples from the model itself; larger is more random.
    top_p: only the smallest set of most likely tokens with this probability together; 1 takes all.
    top_k: only the k most likely tokens; None takes all.
    seed: a sample is a function of (seed, prompt, index of the sample), whatever batch it is sampled in.
    stop: strings that end a sample; the text is cut before the first of them.
    want_logps: also return each token's log-probability under the model itself (temperature 1, nothing left out), nats.
    min_new_tokens: a sample does not end by a stop token before it has so many.
    banned_ids: tokens that are never sampled; the others share their probability.
    batch_rows: samples that run side by side; more is faster until memory or cores are full.
    """

    samples_per_prompt: int = 1
    max_new_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0
    stop: tuple[str, ...] = ()
    want_logps: bool = False
    batch_rows: int = 256
    min_new_tokens: int = 0
    banned_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            ("samples_per_prompt", self.samples_per_prompt >= 1, "at least 1"),
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 (greedy) or larger"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k is None or self.top_k >= 1, "at least 1, or null for the whole vocabulary"),
            ("batch_rows", self.batch_rows >= 1, "at least 1"),
            ("min_new_tokens", 0 <= self.min_new_tokens <= self.max_new_tokens, "0 to max_new_tokens"),
            ("banned_ids", all(index >= 0 for index in self.banned_ids), "ids of tokens"),
            ("stop", all(self.stop), "strings that are not empty"),
        )
        for name, holds, wanted in checks:
            if not holds:
                raise UserError(f"Sampling setting {name}={getattr(self, name)!r} is out of range: give {wanted}.")
