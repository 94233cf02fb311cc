"""Lines of A-LoL's generation tasks: a prompt, a reference answer and its rewards.

    {"id", "prompt_or_input_text", "references", "meta_data", "reward_components": {..., "final_reward"}}

Dialogues are written there as utterances that each end in `<|endoftext|>`, after a knowledge segment if there is one;
here they are turns (the template `dialogpt` writes them the same way).  Any other prompt stays a plain text.
"""

from __future__ import annotations

from collections.abc import Sequence

from heedful.examples.conversation import RowError, kind
from heedful.examples.readers.reader import Reader, lacks, name, number, others, text
from heedful.examples.rows import Row
from heedful.types import TEXT, Example, Message, Response

END = "<|endoftext|>"
KNOWLEDGE = "Knowledge:"
USED = ("id", "prompt_or_input_text", "references", "meta_data", "reward_components")


def dialogue(utterances: Sequence[str], knowledge: str | None = None) -> list[Message]:
    """A prompt of utterances that alternate and end with the user's; `knowledge` stands first, as the system's turn."""
    roles = [("user", "assistant")[i % 2] for i in range(len(utterances))][::-1]
    turns = [Message(role, utterance) for role, utterance in zip(roles, utterances, strict=True)]
    return turns if knowledge is None else [Message("system", f"{KNOWLEDGE} {knowledge}"), *turns]


def _line(row: Row) -> Example:
    prompt, answer = text(row, "prompt_or_input_text"), text(row, "references")
    components = row.get("reward_components") or {}
    if not isinstance(components, dict) or (components and "final_reward" not in components):
        raise RowError(f"'reward_components' must map names to numbers and hold final_reward, not {kind(components)}")
    meta = row.get("meta_data")
    extra = others(row, USED) | ({} if meta is None else {"meta_data": meta})
    spoken = prompt.endswith(END)
    response = Response(
        [Message("assistant" if spoken else TEXT, answer.removesuffix(END))],
        reward=number(components, "final_reward"),
        extra={"reward_components": dict(components)} if components else {},
    )
    messages = _turns(prompt) if spoken else [Message(TEXT, prompt)]
    return Example(messages, [response], id=name(row, "id"), extra=extra)


def _turns(prompt: str) -> list[Message]:
    first, *rest = prompt.removesuffix(END).split(END)
    if first.startswith(KNOWLEDGE) and rest:
        return dialogue(rest, first.removeprefix(KNOWLEDGE).strip())
    return dialogue([first, *rest])


LOL = Reader(
    "lol",
    "A-LoL's generation tasks: prompt_or_input_text, references, reward_components.final_reward",
    lambda row: lacks(row, "prompt_or_input_text", "references"),
    _line,
)
