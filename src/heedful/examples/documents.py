"""Documents: what they are among the examples of any `data=`, and what makes one unusable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from heedful.examples.shape import Dropped
from heedful.types import TEXT, Example, Message

NOT_A_DOCUMENT = "a conversation, not a document (one text without a prompt)"


def documents_of(items: Iterable[Example | Dropped]) -> Iterator[Example | Dropped]:
    """The documents among what `loading.read_mixture` reads, in its order, and what is left out.

    A document is an Example without prompt and with one response, a text: `Response.cost` is its misalignment score
    (lower is better), `Response.spans` those of its characters.  A plain prompt with one plain answer is the document
    that both make together.
    """
    for item in items:
        document = item if isinstance(item, Dropped) else as_document(item)
        yield document if document is not None else Dropped(item.origin, NOT_A_DOCUMENT)


def as_document(example: Example) -> Example | None:
    """The document that an example is; None for anything else."""
    if len(example.responses) != 1:
        return None
    response = example.responses[0]
    turns = [*example.prompt, *response.messages]
    if not turns or any(turn.role != TEXT for turn in turns):
        return None
    if len(turns) == 1:
        return example
    start = sum(len(turn.content) for turn in turns[:-1])
    spans = [replace(span, start=span.start + start, end=span.end + start) for span in response.spans]
    whole = Message(TEXT, "".join(turn.content for turn in turns))
    return replace(example, prompt=[], responses=[replace(response, messages=[whole], spans=spans)])


def problem_of(example: Example) -> str | None:
    """Why a document cannot be used; None if it can."""
    response, text = example.responses[0], example.responses[0].text
    if not text.strip():
        return "an empty document"
    end = 0
    for span in sorted(response.spans, key=lambda span: span.start):
        if span.end > len(text):
            return f"a span that ends at {span.end:,}, outside its text"
        if span.start < end:
            return "spans that overlap"
        if span.score != span.score:
            return "a score that is not a number"
        end = span.end
    if response.cost is not None and response.cost != response.cost:
        return "a score that is not a number"
    return None
