"""Documents of any `data=`, one after the other, never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from heedful.examples.loading import LoadReport, read_mixture
from heedful.examples.shape import Dropped
from heedful.types import TEXT, Example, Message

NOT_A_DOCUMENT = "a conversation, not a document (one text without a prompt)"


def stream_documents(
    data: Any,
    *,
    split: str = "train",
    seed: int = 0,
    readers: Sequence[str] = (),
    reader: str | None = None,
    report: LoadReport | None = None,
) -> Iterator[Example | Dropped]:
    """The documents of a mixture in its order, and what is left out of it.

    A document is an Example without prompt and with one response, a text: `Response.cost` is its misalignment score
    (lower is better), `Response.spans` those of its characters.  A plain prompt with one plain answer is the document
    that both make together.  Arguments as those of `loading.load`; report: is filled in while one reads.
    Raises UserError for anything that cannot be read, naming the file and line.
    """
    for item in read_mixture(data, split=split, seed=seed, readers=readers, reader=reader, report=report):
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
