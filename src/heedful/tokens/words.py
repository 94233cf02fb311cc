"""Whether the trained tokens of a response spell what the assistant said, and nobody else's words."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

import numpy as np

from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.types import TEXT, Example

SHORTEST = 8
"""Characters below which a user's words found in an answer are no evidence."""


class Words(Enum):
    """Whose words are trained."""

    OF_THE_ASSISTANT = auto()
    CHANGED = auto()
    OF_ANOTHER_ROLE = auto()


def judge(template: Template, store: TokenStore, e: int, r: int, example: Example) -> Words:
    """Compare the trained tokens of response `r` of the store's example `e` with the messages of `example`."""
    own, others = [], []
    for message in (*example.prompt, *example.responses[r - store.responses_of(e)[0]].messages):
        (own if message.role in ("assistant", TEXT) else others).append(message.content)
    verdict = Words.OF_THE_ASSISTANT
    for run in _runs(template, store, e, r):
        if any(_is(template, run, said) for said in reversed(own)):
            continue
        said_by_all = "\n".join(own)
        if any(
            len(words.strip()) >= SHORTEST and words.strip() in run and words not in said_by_all for words in others
        ):
            return Words.OF_ANOTHER_ROLE
        verdict = Words.CHANGED
    return verdict


def _runs(template: Template, store: TokenStore, e: int, r: int) -> Iterator[str]:
    """The text of each unbroken run of trained tokens, without the tokens that end it."""
    ids = [*store.prompt_tokens(e).tolist(), *store.response_tokens(r).tolist()]
    trained = np.concatenate([np.zeros(len(store.prompt_tokens(e)), bool), store.response_trained(r), [False]])
    edges = np.flatnonzero(np.diff(trained.astype(np.int8), prepend=0))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        while stop > start and ids[stop - 1] in template.stop_ids:
            stop -= 1
        yield template.vocabulary.continuation(ids[:start], ids[start:stop])


def _is(template: Template, run: str, said: str) -> bool:
    """Whether `run` is `said`, but for blanks and for what the template always writes around an answer."""
    vocabulary, anatomy = template.vocabulary, template.anatomy
    around_before, around_after = {"", anatomy.remainder.strip()}, {"", template.spelled_end.strip()}
    for normalised in (False, True):  # some tokenizers normalise what they are given
        words = (vocabulary.decode(vocabulary.encode([said])[0]) if normalised else said).strip()
        if not words:
            return run.strip() in around_before | around_after
        before, found, after = run.partition(words)
        if found and before.strip() in around_before and after.strip() in around_after:
            return True
    return False
