"""What a chat template puts around an answer, found by rendering a small conversation and looking.

… user's words │ header │ extra │ the answer │ keep │ tail
               └ generation prompt ┘
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heedful.tokens.boundary import BLANK_LED, WORD_LED, Boundary, Cut
from heedful.tokens.vocabulary import common_prefix
from heedful.types import Message, UserError

MARK = "zqMARKqz"
USERS = ("Hello.", "What is 1 + 1?", "first\nsecond")

Render = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The parts of a chat template.

    regular: a conversation with its answer begins with the generation prompt; otherwise the prompt is what
        conversations with different answers have in common.
    extra: constant text between the prompt and the answer.
    after: what follows an answer; `keep` is the part of it that is trained (to the end-of-turn token, if any).
    end_id: the end-of-turn token, None if the template writes none.
    cut: the boundary's cut of every generation prompt, None if it depends on the prompt.
    remainder: text a response's tokens hold before the answer: what was cut from the prompt (of an ordinary one,
        where it depends on the prompt), and `extra`.
    """

    regular: bool
    extra: str
    after: str
    keep: str
    end_id: int | None
    cut: Cut | None
    remainder: str

    @property
    def tail(self) -> int:
        """Characters after the end of the turn, which no response holds."""
        return len(self.after) - len(self.keep)


def dissect(name: str, render: Render, boundary: Boundary) -> Anatomy:
    """Find a template's anatomy.  Raises UserError if it cannot render a question and an answer."""
    question = [Message("user", USERS[0])]
    try:
        prompt, whole = render(question, generation_prompt=True), render([*question, Message("assistant", MARK)])
    except ValueError as error:
        raise UserError(f"The template {name} cannot render a user's turn and an answer: {error}") from None
    at = whole.rfind(MARK)
    if at < 0 or USERS[0] not in whole:
        raise UserError(f"The template {name} leaves out {'the answer' if at < 0 else 'what the user said'}.")
    after = whole[at + len(MARK) :]
    keep, end_id = _end_of_turn(after, boundary)
    regular = whole.startswith(prompt) and at >= len(prompt)
    prompt = prompt_text(question, render, regular=regular)
    extra = whole[len(prompt) : at]
    cut = _constant_cut(render, boundary, extra) if regular else None
    characters = (cut or boundary.cut(prompt, boundary.vocabulary.encode([prompt])[0])).characters
    return Anatomy(regular, extra, after, keep, end_id, cut, remainder=prompt[len(prompt) - characters :] + extra)


def prompt_text(messages: Sequence[Message], render: Render, *, regular: bool) -> str:
    """The rendered prompt: what every conversation that goes on from `messages` with an answer begins with."""
    prompt = render(messages, generation_prompt=True)
    if regular:
        return prompt
    texts = [prompt, *(render([*messages, Message("assistant", answer)]) for answer in ("a", "Z"))]
    shortest = min(common_prefix(texts[0], text) for text in texts)
    return texts[0][:shortest]


def _end_of_turn(after: str, boundary: Boundary) -> tuple[str, int | None]:
    """The part of `after` that belongs to the turn, and the special token that ends it, if one does."""
    vocabulary = boundary.vocabulary
    for index in vocabulary.encode([after])[0]:
        spelled = vocabulary.token(index)
        if index in vocabulary.special_ids and spelled in after:
            return after[: after.find(spelled) + len(spelled)], index
    return after.rstrip(), None


def _constant_cut(render: Render, boundary: Boundary, extra: str) -> Cut | None:
    """The cut of the generation prompt where it is the same after any question, else None.

    Continuations go through the template, which may strip them; none is tried that would follow a word directly.
    """
    found = set()
    for user in USERS:
        question = [Message("user", user)]
        prompt = render(question, generation_prompt=True)
        header = prompt[prompt.rfind(user) + len(user) :]
        if user not in prompt or not header.strip():
            return None
        blank = (prompt + extra)[-1].isspace()
        continued = []
        for answer in (*BLANK_LED, *WORD_LED, ""):
            text = render([*question, Message("assistant", answer)])
            follows = text[len(prompt) + len(extra) :]
            if text.startswith(prompt + extra) and (blank or follows[:1].isspace()):
                continued.append(text)
        cut = boundary.between(prompt, continued)[1]
        if cut.characters >= len(header):
            return None
        found.add(cut)
    return found.pop() if len(found) == 1 else None
