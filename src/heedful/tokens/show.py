"""Tokens in colour: what is prompt, what is trained on, where the one ends and the other begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    "prompt": ("blue", "bright_blue"),
    "trained": ("green", "bright_green"),
    "not trained": ("yellow", "bright_yellow"),
    "control token": ("magenta", "magenta"),
    "boundary": ("bold red", "bold red"),
}
"""Two shades each, so that neighbouring tokens differ."""
BOUNDARY = "┃"


def legend() -> Text:
    """What the colours mean, in one line."""
    from rich.text import Text

    parts = [(f"{BOUNDARY} boundary" if name == "boundary" else name, shades[1]) for name, shades in STYLES.items()]
    return Text("  ").join(Text(name, style) for name, style in parts)


def coloured(item: EncodedExample, template: Template) -> list[Text]:
    """The prompt followed by the first response, then each other response behind the boundary alone.

    A control token is the end of the prompt, and stands before each response it belongs to.
    Newlines are shown as ⏎ before the line breaks; tokens that share a character stand together.
    """
    from rich.text import Text

    texts = []
    prompt = item.prompt_ids.tolist()
    for k, response in enumerate(item.responses):
        text = Text()
        if k == 0:
            _append(text, template.vocabulary, [], prompt, ["prompt"] * len(prompt))
        text.append(BOUNDARY, STYLES["boundary"][0])
        names = ["trained" if trained else "not trained" for trained in response.trained]
        names[: len(template.control_ids)] = ["control token"] * len(template.control_ids)
        _append(text, template.vocabulary, prompt, response.ids.tolist(), names)
        texts.append(text)
    return texts


def from_store(store: TokenStore, e: int) -> EncodedExample:
    """Example `e` of a store, as the encoder gave it."""
    rows = store.responses_of(e)
    responses = [EncodedResponse(store.response_tokens(r), store.response_trained(r)) for r in rows]
    return EncodedExample(store.prompt_tokens(e), responses, int(store.example_rows[e]))


def _append(text: Text, vocabulary: Vocabulary, before: list[int], ids: list[int], names: Sequence[str]) -> None:
    for i, (start, piece) in enumerate(_pieces(vocabulary, before, ids)):
        text.append(piece.replace("\n", "⏎\n"), STYLES[names[start]][i % 2])


def _pieces(vocabulary: Vocabulary, before: list[int], ids: list[int]) -> Iterator[tuple[int, str]]:
    """(index of the first token, text) of the fewest tokens that spell whole characters."""
    start = 0
    for stop in range(1, len(ids) + 1):
        piece = vocabulary.continuation([*before, *ids[:start]], ids[start:stop])
        if "\ufffd" not in piece or stop == len(ids) or stop - start == 4:
            yield start, piece
            start = stop
