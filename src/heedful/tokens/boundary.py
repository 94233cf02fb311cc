"""Where a prompt's tokens end and a response's begin.

Tokens of a prompt can change when text follows: `"\\n"` and `"\\n"` become one token, `" "` joins the next word.  The
boundary is therefore cut back to a point that realistic continuations leave alone, found by tokenising the prompt's
end with a set of them.  It depends on the prompt alone, so sampling and training agree by construction; a response
that would still merge with the prompt is tokenised on its own, which is what sampling would have produced.

A word or sign that ends the prompt is never cut: only white space that ends it moves to the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from heedful.tokens.vocabulary import Vocabulary, common_prefix

BLANK_LED = (" a", " A", " 1", " (", "\n", "\na", "\n\na", "\n  a", "  a", "\t", "\ta")
WORD_LED = ("a", "Z", "7", "?", '"', "(", "-", "é", "你", "'s", "<", "```")
ANCHORS = ("", "\n", "a\n", ".", ":", ")", "1", "a", "\t")
"""What a response may be tokenised behind when it must not merge with its prompt."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a rendered prompt's end moves to the response."""

    tokens: int
    characters: int


NO_CUT = Cut(0, 0)


def continuations(end: str) -> tuple[str, ...]:
    """What may follow a prompt that ends so: anything after white space, white space after anything else."""
    return BLANK_LED + WORD_LED if end[-1:].isspace() else BLANK_LED


class Boundary:
    """Finds the cut of prompts for one tokenizer."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self._of_tail = lru_cache(maxsize=65536)(self._probe)

    def cut(self, text: str, ids: Sequence[int]) -> Cut:
        """The cut of the prompt `text`, whose tokens are `ids`."""
        if not text[-1:].isspace():
            return NO_CUT
        words = text.rstrip()
        tail = text[max(words.rfind(" "), words.rfind("\n"), 0) :]
        base, cut = self._of_tail(tail)
        if tuple(ids[-len(base) :]) == base:
            return cut
        return self._of_tail(text)[1]

    def _probe(self, tail: str) -> tuple[tuple[int, ...], Cut]:
        return self.between(tail, [tail + continuation for continuation in continuations(tail)])

    def between(self, prompt: str, continued: Sequence[str]) -> tuple[tuple[int, ...], Cut]:
        """The prompt's tokens, and the cut after which all of `continued` begin with what is left of them."""
        ids, ends = self.vocabulary.encode_with_ends(prompt)
        kept = min((common_prefix(ids, other) for other in self.vocabulary.encode(continued)), default=len(ids))
        starts = [0, *ends]
        while 0 < kept < len(ids) and ends[kept] == ends[kept - 1]:  # inside a character of several tokens
            kept -= 1
        return tuple(ids), Cut(len(ids) - kept, len(prompt) - starts[kept])

    def apart(self, prompt_ids: Sequence[int], text: str, whole: Sequence[int]) -> list[int] | None:
        """Tokens of `text` as it follows `prompt_ids` without merging, or None if the tokenizer cannot.

        whole: tokens of prompt and text together, whose decoding the result must keep.
        """
        wanted = self.vocabulary.decode(whole)
        for anchor in ANCHORS:
            ids, ends = self.vocabulary.encode_with_ends(anchor + text)
            if anchor and len(anchor) not in ends:
                continue
            tail = ids[ends.index(len(anchor)) + 1 :] if anchor else ids
            if self.vocabulary.decode([*prompt_ids, *tail]) == wanted:
                return tail
        return None
