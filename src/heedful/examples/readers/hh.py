"""Anthropic's HH-RLHF: the raw dialogues, and the scored pairs of the PRO and LoL-RL releases."""

from __future__ import annotations

import re
from typing import Any

from heedful.examples.conversation import RowError, SkipRow, merge_same_speaker, split_dialogues
from heedful.examples.readers.reader import Reader, integer, items, lacks, number, others, text
from heedful.examples.rows import Row
from heedful.types import Example, Message, Response

SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_dialogue(dialogue: str, column: str) -> list[Message]:
    """The turns of a text in which `\\n\\nHuman:` and `\\n\\nAssistant:` begin them; consecutive turns of one
    speaker (an answer that quotes a speaker's name) are one turn.

    Raises RowError if the text begins with neither.
    """
    lead, *pieces = SPEAKER.split(dialogue)
    if lead.strip() or not pieces:
        raise RowError(f"column {column!r} must begin with 'Human:' or 'Assistant:', not with {dialogue[:30]!r}")
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return merge_same_speaker([Message(ROLES[speaker], content.strip()) for speaker, content in turns])


def _raw_declines(row: Row) -> str | None:
    for column in ("chosen", "rejected"):
        value = row.get(column)
        if not isinstance(value, str) or not SPEAKER.match(value.lstrip()) or "\n\nAssistant:" not in value:
            return f"no dialogue of \\n\\nHuman: and \\n\\nAssistant: in {column!r}"
    return None


def _raw(row: Row) -> Example:
    chosen, rejected = parse_dialogue(text(row, "chosen"), "chosen"), parse_dialogue(text(row, "rejected"), "rejected")
    for column, dialogue in (("chosen", chosen), ("rejected", rejected)):
        if dialogue[-1].role != "assistant":
            raise SkipRow(f"the {column} dialogue ends with the human's turn")
    prompt, first, second = split_dialogues(chosen, rejected)
    return Example(prompt, [Response(first), Response(second)], better=0, extra=others(row, ("chosen", "rejected")))


# scored: {"prefix": [[turns], [turns]], "suffix": [answers], "reward": [logits], "sft_index", "meta"}

MARKS = {"<|prompter|>": "user", "<|assistant|>": "assistant", "<|system|>": "system"}
SCORED_COLUMNS = ("prefix", "suffix", "reward", "sft_index")


def _scored(row: Row) -> Example:
    prefixes, answers, rewards = items(row, "prefix"), items(row, "suffix"), items(row, "reward")
    if not len(prefixes) == len(answers) == len(rewards) or not answers:
        lengths = f"{len(prefixes)}, {len(answers)} and {len(rewards)}"
        raise RowError(f"'prefix', 'suffix' and 'reward' must have one length, and have {lengths}")
    if any(prefix != prefixes[0] for prefix in prefixes):
        raise SkipRow("the answers belong to different prompts")
    responses = [_scored_answer(answer, rewards, index) for index, answer in enumerate(answers)]
    chosen = integer(row, "sft_index") or 0
    if not 0 <= chosen < len(answers):
        raise RowError(f"'sft_index' is {chosen}, and there are {len(answers)} answers")
    better = chosen if len(answers) > 1 else None
    return Example(_scored_prompt(prefixes[0]), responses, better=better, extra=others(row, SCORED_COLUMNS))


def _scored_answer(answer: Any, rewards: list[Any], index: int) -> Response:
    reward = number({f"reward[{index}]": rewards[index]}, f"reward[{index}]")
    return Response([Message("assistant", text({"suffix": answer}, "suffix"))], reward=reward)


def _scored_prompt(turns: Any) -> list[Message]:
    if not isinstance(turns, list) or not turns or turns[-1] != "<|assistant|>":
        raise RowError("'prefix' must be lists of turns that end with an empty '<|assistant|>' turn")
    return merge_same_speaker([_marked_turn(turn) for turn in turns[:-1]])


def _marked_turn(turn: Any) -> Message:
    for mark, role in MARKS.items():
        if isinstance(turn, str) and turn.startswith(mark):
            return Message(role, turn[len(mark) :])
    raise RowError(f"a turn of 'prefix' must begin with {' or '.join(MARKS)}, not {str(turn)[:30]!r}")


RAW = Reader(
    "hh-raw", "Anthropic HH-RLHF: chosen and rejected, whole dialogues of Human: and Assistant:", _raw_declines, _raw
)
SCORED = Reader(
    "hh-scored",
    "HH-RLHF scored (PRO, LoL-RL): prefix, suffix, reward; suffix[sft_index] is the human's choice",
    lambda row: lacks(row, "prefix", "suffix", "reward"),
    _scored,
)
