"""Upvoted and downvoted Reddit comments as replies to their parents."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from heedful.examples.shape import Dropped
from heedful.scorers.tfidf import fit
from heedful.types import Example, Message, Response
from heedful.workflows.preparations.parts import Parts
from heedful.workflows.preparations.preparation import Preparation, Settings, Tokens, items_of

FILES = {"pos": "comments_positive.csv", "neg": "comments_negative.csv"}
URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
URL_MARK = "<URL>"
AT_ONCE = 1000


class RedditSettings(Settings):
    rows: int = Field(102_000, gt=0, description="how many comments to draw from each file")
    held_out: int = Field(1000, gt=0, description="how many of each file's comments become test, and how many val")
    max_words: int = Field(100, gt=0, description="most words of a comment, and of its parent")
    max_tokens: int = Field(300, gt=0, description="most tokens of both, with an end after each")
    tokenizer: str = Field("microsoft/DialoGPT-medium", description="what counts tokens: hub name or folder")


def _reddit(settings: RedditSettings, parts: Parts) -> None:
    """pos-train, neg-train, and val and test of both; tfidf.json counts the words of the training replies.

    Drawn, cleaned, and dealt in that order: the first of each file are test, the next val, the rest train.
    """
    tokens = Tokens(settings.tokenizer)
    replies: list[str] = []
    for kind, file in FILES.items():
        kept = 0
        for item in _short(_drawn(settings.raw / file, settings), tokens, settings):
            part = ("test", "val")[kept // settings.held_out] if kept < 2 * settings.held_out else f"{kind}-train"
            if isinstance(item, Dropped):
                parts.put(f"{kind}-train", item)
                continue
            kept += 1
            parts.put(part, item)
            replies += [item.responses[0].text] if part.endswith("train") else []
        parts.refuse_empty(f"{kind}-train")
    fit(replies).save(parts.folder / "tfidf.json")


def _drawn(path: Path, settings: RedditSettings) -> Iterator[Example | Dropped]:
    """Rows without text are left out first, then `rows` of the others are drawn, in a random order."""
    comments = []
    for item in items_of(path, "reddit"):
        if isinstance(item, Dropped):
            yield item
        else:
            comments.append(item)
    yield from random.Random(settings.seed).sample(comments, min(settings.rows, len(comments)))


def _short(items: Iterable[Example | Dropped], tokens: Tokens, settings: RedditSettings) -> Iterator[Example | Dropped]:
    """Cleaned comments that are short enough, in their order."""
    block: list[Example] = []
    for item in items:
        if isinstance(item, Dropped):
            yield item
        elif max(len(text.split()) for text in _texts(item)) > settings.max_words:
            yield Dropped(item.origin, f"more than {settings.max_words} words in the comment or its parent")
        else:
            block.append(_cleaned(item))
        if len(block) == AT_ONCE:
            yield from _few_tokens(block, tokens, settings.max_tokens)
            block = []
    yield from _few_tokens(block, tokens, settings.max_tokens)


def _few_tokens(block: list[Example], tokens: Tokens, most: int) -> Iterator[Example | Dropped]:
    counts = tokens.count([text for example in block for text in _texts(example)])
    for example, parent, reply in zip(block, counts[::2], counts[1::2], strict=True):
        few = parent + reply + 2 <= most  # each ends with a token of its own
        yield example if few else Dropped(example.origin, f"more than {most} tokens")


def _texts(example: Example) -> tuple[str, str]:
    return example.prompt[0].content, example.responses[0].text


def _cleaned(example: Example) -> Example:
    """White space of any kind and length is one space, and an address is `<URL>`."""
    parent, reply = (URL.sub(URL_MARK, " ".join(text.split())) for text in _texts(example))
    votes = {key: example.extra[key] for key in ("score", "parent_score") if key in example.extra}
    response = Response([Message("assistant", reply)])
    return Example([Message("user", parent)], [response], id=example.id, origin=example.origin, extra=votes)


REDDIT = Preparation(RedditSettings, _reddit)
