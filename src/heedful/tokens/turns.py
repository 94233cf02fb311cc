"""Which messages of an example are its prompt, which are answers, and which of those are trained; what may be left out.

A *turn* that truncation may drop is a user's message with all that answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from heedful.types import TEXT, Example, Message

TrainOn = Literal["last", "all_assistant"]


@dataclass(frozen=True, slots=True)
class Turns:
    """An example's messages in the roles that training gives them.

    trained: for each response, for each of its messages, whether its tokens enter a loss.
    """

    prompt: list[Message]
    responses: list[list[Message]]
    trained: list[list[bool]]
    verbatim: bool


def arrange(example: Example, train_on: TrainOn) -> Turns | str:
    """Sort an example's messages, or say why it cannot be trained on.

    With one response the split is the trainer's to choose: the prompt is all that comes before the last answer
    (`last`) or before the first (`all_assistant`).  With several, the prompt is what they share.
    """
    messages = [*example.prompt, *(message for response in example.responses for message in response.messages)]
    if not example.responses or not all(response.messages for response in example.responses):
        return "it has no response"
    if any(message.role == TEXT for message in messages):
        if not all(message.role == TEXT for message in messages):
            return "it mixes verbatim text with the turns of a chat"
        responses = [list(response.messages) for response in example.responses]
        return Turns(list(example.prompt), responses, [[m.trained for m in turns] for turns in responses], True)
    prompt = list(example.prompt)
    responses = [_until_last_answer(response.messages) for response in example.responses]
    if not all(responses):
        return "a response has no assistant turn"
    if len(responses) == 1:
        whole = [*prompt, *responses[0]]
        split = len(whole) - 1 if train_on == "last" else next(i for i, m in enumerate(whole) if _answers(m))
        prompt, responses = whole[:split], [whole[split:]]
    return Turns(prompt, responses, [_trained(turns, train_on) for turns in responses], False)


def drop_oldest(messages: Sequence[Message]) -> list[Message] | None:
    """The conversation without its oldest turn, system messages kept; None if only one turn is left."""
    turn = _oldest(messages)
    return None if turn is None else [*messages[: turn[0]], *messages[turn[1] :]]


def without_oldest(turns: Turns) -> Turns | None:
    """The same without the oldest turn; None if only one is left, or the next belongs to one of several responses."""
    if turns.verbatim:
        return None
    shared = [*turns.prompt, *turns.responses[0]] if len(turns.responses) == 1 else turns.prompt
    turn = _oldest(shared)
    if turn is None:
        return None
    start, end = turn
    split = len(turns.prompt)
    if end <= split:
        return replace(turns, prompt=[*turns.prompt[:start], *turns.prompt[end:]])
    # The oldest turn holds the first answers of the only response: what follows it becomes prompt and response.
    rest, flags = turns.responses[0][end - split :], turns.trained[0][end - split :]
    first = next(i for i, message in enumerate(rest) if _answers(message))
    return Turns([*turns.prompt[:start], *rest[:first]], [rest[first:]], [flags[first:]], False)


def _oldest(messages: Sequence[Message]) -> tuple[int, int] | None:
    """Where the oldest turn begins and the next one begins, if there is a next one."""
    start = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    return next(((start, i) for i, message in enumerate(messages) if message.role == "user" and i > start), None)


def _answers(message: Message) -> bool:
    return message.role == "assistant"


def _until_last_answer(messages: list[Message]) -> list[Message]:
    last = next((i for i in reversed(range(len(messages))) if _answers(messages[i])), -1)
    return messages[: last + 1]


def _trained(messages: list[Message], train_on: TrainOn) -> list[bool]:
    if train_on == "last":
        return [False] * (len(messages) - 1) + [messages[-1].trained]
    return [_answers(message) and message.trained for message in messages]
