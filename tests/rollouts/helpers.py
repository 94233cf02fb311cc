"""A plain template over the shared tiny tokenizer, so that these tests need nothing of `tokens/`."""

from __future__ import annotations

from collections.abc import Sequence

from heedful.types import TEXT, Message
from tests.fakes import tiny_tokenizer


class PlainTemplate:
    def __init__(self) -> None:
        self.tokenizer = tiny_tokenizer()
        self.stop_ids = [self.tokenizer.eos_token_id]

    def encode_prompt(self, messages: Sequence[Message], *, max_prompt_length: int | None = None) -> list[int]:
        return self.tokenizer("".join(m.content for m in messages))["input_ids"][-(max_prompt_length or 10**9) :]

    def decode_response(self, ids: Sequence[int], prompt: Sequence[Message] | None = None) -> str:
        return self.tokenizer.decode([i for i in ids if i not in self.stop_ids])


def prompts_of(*texts: str) -> list[list[Message]]:
    return [[Message(TEXT, text)] for text in texts]
