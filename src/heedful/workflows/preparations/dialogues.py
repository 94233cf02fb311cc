"""Dialogues that rest on a piece of knowledge: Wizard of Wikipedia, FaithDial, and both together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from heedful.examples.shape import Dropped
from heedful.scorers.tfidf import fit
from heedful.types import Example
from heedful.workflows.preparations.parts import Parts
from heedful.workflows.preparations.preparation import Preparation, Settings, Tokens, items_of

WIZARD = {"train": "wizard_of_wikipedia/train.json", "val": "wizard_of_wikipedia/valid_topic_split.json"}
FAITH = {"train": "FaithDial/train.json", "val": "FaithDial/valid.json", "test": "FaithDial/test.json"}


class DialogueSettings(Settings):
    max_history: int = Field(400, gt=0, description="most tokens of the turns before an answer, with an end after each")
    tokenizer: str = Field("microsoft/DialoGPT-medium", description="what counts tokens: hub name or folder")


def _wow(settings: DialogueSettings, parts: Parts) -> None:
    """train and val of Wizard of Wikipedia, test of FaithDial; tfidf.json of the wizard's training answers."""
    tokens = Tokens(settings.tokenizer)
    for part, file in WIZARD.items():
        parts.fill(part, _fitting(settings.raw / file, "wizard-of-wikipedia", settings, tokens))
    parts.fill("test", _fitting(settings.raw / FAITH["test"], "faithdial", settings, tokens))
    _count_words(settings, parts)


def _faithdial(settings: DialogueSettings, parts: Parts) -> None:
    """train, val and test of FaithDial; tfidf.json of the training answers of Wizard of Wikipedia, as published."""
    tokens = Tokens(settings.tokenizer)
    for part, file in FAITH.items():
        parts.fill(part, _fitting(settings.raw / file, "faithdial", settings, tokens))
    _count_words(settings, parts)


def _faithdial_wow(settings: DialogueSettings, parts: Parts) -> None:
    """train and val of both, shuffled; test of FaithDial."""
    tokens = Tokens(settings.tokenizer)
    for part, file in WIZARD.items():
        both = [
            *_fitting(settings.raw / file, "wizard-of-wikipedia", settings, tokens),
            *_fitting(settings.raw / FAITH[part], "faithdial", settings, tokens),
        ]
        random.Random(settings.seed).shuffle(both)
        parts.fill(part, both)
    parts.fill("test", _fitting(settings.raw / FAITH["test"], "faithdial", settings, tokens))
    _count_words(settings, parts)


def _fitting(path: Path, reader: str, settings: DialogueSettings, tokens: Tokens) -> Iterator[Example | Dropped]:
    """Without their oldest turns where the history is too long; left out where its last turn alone is."""
    for item in items_of(path, reader):
        yield item if isinstance(item, Dropped) else _shortened(item, settings.max_history, tokens)


def _shortened(example: Example, most: int, tokens: Tokens) -> Example | Dropped:
    knowledge, *history = example.prompt
    lengths = [count + 1 for count in tokens.count([turn.content for turn in history])]
    while history and sum(lengths[-len(history) :]) > most:
        history = history[1:]
    if not history:
        return Dropped(example.origin, f"the turn before it alone has more than {most} tokens")
    return replace(example, prompt=[knowledge, *history])


def _count_words(settings: DialogueSettings, parts: Parts) -> None:
    answers = items_of(settings.raw / WIZARD["train"], "wizard-of-wikipedia")
    fit(item.responses[0].text for item in answers if isinstance(item, Example)).save(parts.folder / "tfidf.json")


WOW = Preparation(DialogueSettings, _wow)
FAITHDIAL = Preparation(DialogueSettings, _faithdial)
FAITHDIAL_WOW = Preparation(DialogueSettings, _faithdial_wow)
