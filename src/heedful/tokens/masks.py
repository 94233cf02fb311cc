"""Which tokens of a response of several turns are trained: renderings compared, then characters to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from jaxtyping import Bool

from heedful.tokens.templates import Template
from heedful.tokens.vocabulary import Vocabulary
from heedful.types import TEXT, Message

Span = tuple[int, int]
"""Characters [start, end) of a rendered conversation."""


def trained_spans(
    template: Template,
    prompt: Sequence[Message],
    response: Sequence[Message],
    flags: Sequence[bool],
    whole: str,
    start: int,
) -> list[Span] | None:
    """The characters of `whole` that are trained: each flagged turn from its own boundary to its end of turn.

    start: where the response begins.  None if a flagged turn is not to be found.
    """
    spans: list[Span] = []
    cursor = start
    for i, (message, flag) in enumerate(zip(response, flags, strict=True)):
        before = [*prompt, *response[:i]]
        if message.role == TEXT:
            at = len(template.render(before)) if before else 0
            span = (start if i == 0 else at, at + len(message.content))
        else:
            span = _between_renderings(template, before, message, whole) or _by_search(
                template, message.content, whole, cursor
            )
            if span is None and flag:
                return None
        if span is not None:
            cursor = span[1]
            if flag:
                spans.append(span)
    return spans


def _between_renderings(template: Template, before: list[Message], message: Message, whole: str) -> Span | None:
    """A turn's span from the renderings that end before and after it, if `whole` begins with both."""
    try:
        if message.role != "assistant":
            rendered = template.render([*before, message])
            return (0, len(rendered)) if whole.startswith(rendered) else None
        prompt = template.prompt_text(before)
        rendered = template.render([*before, message])
    except ValueError:
        return None
    anatomy = template.anatomy
    end = len(rendered) - anatomy.tail if rendered.endswith(anatomy.after) else len(rendered)
    if not whole.startswith(prompt) or not whole.startswith(rendered[:end]):
        return None
    cut = anatomy.cut or template.boundary.cut(prompt, template.vocabulary.encode([prompt])[0])
    return len(prompt) - cut.characters, end


def _by_search(template: Template, content: str, whole: str, cursor: int) -> Span | None:
    """The fallback for templates that render earlier turns differently: the content itself, and its end of turn."""
    words = content.strip()
    at = whole.find(words, cursor)
    if at < 0 or not words:
        return None
    end = at + len(words)
    keep = template.anatomy.keep
    return at, end + len(keep) if whole.startswith(keep, end) else end


def token_ends(
    vocabulary: Vocabulary,
    whole: str,
    start: int,
    prompt_ids: Sequence[int],
    ids: Sequence[int],
    shared: int | None,
) -> list[int]:
    """Where in `whole` each response token ends.

    start: where the response's first token begins.  shared: how many of the whole's own tokens come before the
    response, or None if the response was tokenised apart; then by the length of what each token adds.
    """
    if shared is not None:
        return vocabulary.encode_with_ends(whole)[1][shared:]
    lengths = [len(vocabulary.continuation(prompt_ids, ids[: i + 1])) for i in range(len(ids))]
    return [start + length for length in accumulate(lengths, max)]


def trained_mask(ends: Sequence[int], spans: Sequence[Span]) -> Bool[np.ndarray, " L"]:
    """True for tokens whose last character lies in a span."""
    where = np.array(ends, np.int64)
    trained = np.zeros(len(where), bool)
    for first, stop in spans:
        trained |= (where > first) & (where <= stop)
    return trained
