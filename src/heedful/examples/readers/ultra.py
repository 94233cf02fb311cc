"""UltraFeedback, binarised (with the scores of its judge, or of ArmoRM), and UltraChat."""

from __future__ import annotations

from typing import Any

from heedful.examples.conversation import RowError, SkipRow, to_messages
from heedful.examples.readers.reader import Reader, cell, items, lacks, name, number, others
from heedful.examples.readers.trl import split_pair
from heedful.examples.rows import Row
from heedful.types import Example, Response

BINARISED_COLUMNS = ("prompt", "prompt_id", "chosen", "rejected", "messages", "score_chosen", "score_rejected")
ARMORM_COLUMNS = ("prompt", "prompt_id", "chosen", "rejected", "all_generated_responses", "all_rm_scores")
CHAT_COLUMNS = ("prompt", "prompt_id", "messages")


def _binarised(row: Row) -> Example:
    return _scored_pair(row, (number(row, "score_chosen"), number(row, "score_rejected")), BINARISED_COLUMNS)


def _armorm(row: Row) -> Example:
    """The best and the worst of several samples; their rewards are the largest and the smallest of ArmoRM's scores."""
    scores = _scores(row)
    return _scored_pair(row, (max(scores), min(scores)), ARMORM_COLUMNS)


def _armorm_all(row: Row) -> Example:
    """All samples of a prompt with their rewards; no one of them is said to be better."""
    prompt, *_ = split_pair(row)
    scores, samples = _scores(row), items(row, "all_generated_responses")
    if len(samples) != len(scores):
        raise RowError(f"there are {len(samples)} 'all_generated_responses' and {len(scores)} 'all_rm_scores'")
    turns = [to_messages(sample, "all_generated_responses", text_role="assistant") for sample in samples]
    responses = [Response(messages, reward=score) for messages, score in zip(turns, scores, strict=True)]
    return Example(prompt, responses, id=name(row, "prompt_id"), extra=others(row, ARMORM_COLUMNS))


def _scored_pair(row: Row, rewards: tuple[float | None, float | None], used: tuple[str, ...]) -> Example:
    prompt, chosen, rejected = split_pair(row)
    responses = [Response(chosen, reward=rewards[0]), Response(rejected, reward=rewards[1])]
    return Example(prompt, responses, better=0, id=name(row, "prompt_id"), extra=others(row, used))


def _scores(row: Row) -> list[float]:
    scores = [_score(value, f"all_rm_scores[{index}]") for index, value in enumerate(items(row, "all_rm_scores"))]
    if not scores:
        raise RowError("column 'all_rm_scores' is empty")
    return scores


def _score(value: Any, where: str) -> float:
    score = number({where: value}, where)
    if score is None:
        raise RowError(f"{where} must be a number, and is empty")
    return score


def _chat(row: Row) -> Example:
    """A dialogue: its first turn is the prompt and the rest the response, so that every answer can be trained on."""
    messages = to_messages(cell(row, "messages"), "messages")
    first = next((index for index, message in enumerate(messages) if message.role == "assistant"), None)
    if first is None:
        raise SkipRow("a dialogue without an assistant's turn")
    responses = [Response(messages[first:])]
    return Example(messages[:first], responses, id=name(row, "prompt_id"), extra=others(row, CHAT_COLUMNS))


BINARISED = Reader(
    "ultrafeedback",
    "UltraFeedback binarised: prompt, prompt_id, chosen, rejected, score_chosen, score_rejected, messages",
    lambda row: lacks(row, *BINARISED_COLUMNS),
    _binarised,
)
ARMORM = Reader(
    "ultrafeedback-armorm",
    "UltraFeedback scored by ArmoRM: prompt, chosen, rejected, all_generated_responses, all_rm_scores",
    lambda row: lacks(row, *ARMORM_COLUMNS),
    _armorm,
)
ARMORM_ALL = Reader(
    "ultrafeedback-armorm-all",
    "as ultrafeedback-armorm, with all samples of a prompt and their rewards",
    lambda row: "it reads only where it is named",
    _armorm_all,
)
CHAT = Reader(
    "ultrachat",
    "UltraChat: prompt, prompt_id, messages; train_on=all_assistant trains on every answer",
    lambda row: lacks(row, *CHAT_COLUMNS) or ("a preference" if "chosen" in row else None),
    _chat,
)
