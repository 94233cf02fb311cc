"""Dialogues as texts, as DialoGPT and the classifiers of its data read them: turns with the end of a text after each.

A knowledge turn (Wizard of Wikipedia, FaithDial) may stand first: it says what a response must be faithful to.
"""

from __future__ import annotations

from heedful.examples.readers.lol import END, KNOWLEDGE
from heedful.types import Example


def dialogue_text(example: Example) -> str:
    """A prompt with the end of a turn after each of its messages, whether the message brings its own or not."""
    return "".join(bare(message.content) + END for message in example.prompt)


def bare(text: str) -> str:
    """A text without the end of its turn."""
    return text.removesuffix(END)


def turns_of(prompt: str) -> list[str]:
    """The turns of a prompt in which `END` ends them, a knowledge turn among them."""
    return [turn for turn in prompt.split(END) if turn]


def spoken(turns: list[str]) -> list[str]:
    """The turns without a knowledge turn before them."""
    return turns[1:] if turns and turns[0].startswith(KNOWLEDGE) else turns


def knowledge_of(turns: list[str]) -> str | None:
    """What follows `Knowledge:` in the first turn, as it stands (its first space too); None without such a turn."""
    return turns[0].removeprefix(KNOWLEDGE) if turns and turns[0].startswith(KNOWLEDGE) else None
