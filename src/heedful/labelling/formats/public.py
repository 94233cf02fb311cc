"""Public collections' forms of comparisons: battles of an arena, HH-RLHF's dialogues, OpenAssistant's messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heedful.labelling.consensus import Decided
from heedful.labelling.formats.training import BAD, TIED, UNANSWERED, Shape, about, preference

Row = dict[str, Any]
Turns = Sequence[dict[str, str]]

NOT_TWO = "it has not two responses"
NOT_IN_TURN = "its turns are not question and answer in turn"
STRANGER = "somebody speaks in it who is neither human nor assistant"
MARKED = "a text of it says who speaks, which would be read as another turn"
NO_PROMPT = "it has no prompt"
LONG = "a response has several turns"
SIDES = {"r0": "model_a", "r1": "model_b"}
SPEAKERS = {"user": "Human", "assistant": "Assistant"}
PARTS = {"user": "prompter", "assistant": "assistant"}


def votes(one: Decided, shape: Shape, *, blind: bool) -> list[Row] | str:
    """Every answer as a battle of FastChat's arena, in the order in which they were given.

    blind: whether labellers did not learn where the responses come from.
    """
    if len(one.responses) != 2:
        return NOT_TWO
    sides = [[*one.prompt, *response.content] for response in one.responses]
    rows = []
    for answer in sorted(one.answers, key=lambda answer: (answer.at or 0.0, answer.labeller)):
        said = answer.value.get("preference")
        if said is None:
            continue
        tied = "tie (bothbad)" if said.get("outcome") == "both_bad" else "tie"
        rows.append(
            {
                "question_id": one.external_id,
                "model_a": one.responses[0].source,
                "model_b": one.responses[1].source,
                "winner": tied if said["winner"] is None else SIDES[said["winner"]],
                "judge": answer.labeller,
                "conversation_a": sides[0],
                "conversation_b": sides[1],
                "turn": sum(turn["role"] == "user" for turn in one.prompt),
                "anony": blind,
                "tstamp": answer.at,
            }
        )
    return rows or UNANSWERED


def battle(one: Decided, shape: Shape) -> list[Row] | str:
    """What was decided as a row of arena-55k, whose lists are JSON texts."""
    if len(one.responses) != 2:
        return NOT_TWO
    said = one.value.get("preference")
    if said is None:
        return one.undecided.get("preference", UNANSWERED)
    if said.get("outcome") == "both_bad":
        return BAD
    sides = [[*one.prompt, *response.content] for response in one.responses]
    questions, answers = (
        [[turn["content"] for turn in side[first::2]] for side in sides] for first in (0, 1)
    )  # of both sides
    in_turn = all(
        len(side) % 2 == 0 and [turn["role"] for turn in side] == ["user", "assistant"] * (len(side) // 2)
        for side in sides
    )
    if not in_turn or questions[0] != questions[1]:
        return NOT_IN_TURN
    won = {f"winner_{name}": int(said["winner"] == key) for key, name in SIDES.items()}
    texts = zip(("prompt", "response_a", "response_b"), (questions[0], *answers), strict=True)
    return [
        {
            "id": one.external_id,
            "model_a": one.responses[0].source,
            "model_b": one.responses[1].source,
            **{name: json.dumps(said, ensure_ascii=False) for name, said in texts},
            **won,
            "winner_tie": int(said["winner"] is None),
        }
    ]


def dialogues(one: Decided, shape: Shape) -> list[Row] | str:
    """HH-RLHF's rows: of TRL's pairs both conversations whole, each one text."""
    pairs = preference(one, replace(shape, style="implicit", ties="drop", margin=False))
    if isinstance(pairs, str):
        return pairs
    turns = [turn for response in one.responses for turn in [*one.prompt, *response.content]]
    if any(turn["role"] not in SPEAKERS for turn in turns):
        return STRANGER
    if any(f"\n\n{name}:" in f"\n\n{turn['content']}" for turn in turns for name in SPEAKERS.values()):
        return MARKED
    return [{**row, **{name: _dialogue(row[name]) for name in ("chosen", "rejected")}} for row in pairs]


def _dialogue(turns: Turns) -> str:
    return "".join(f"\n\n{SPEAKERS[turn['role']]}: {turn['content']}" for turn in turns)


def messages(one: Decided, shape: Shape) -> list[Row] | str:
    """OpenAssistant's messages, the parts of a tree: the prompt's turns, and the responses with ranks from 0, the best.

    Responses with one rank share it, and the next has one more.
    """
    ranks = _ranks(one)
    if isinstance(ranks, str):
        return ranks
    if not one.prompt:
        return NO_PROMPT
    if any(len(response.content) != 1 for response in one.responses):
        return LONG
    if any(turn["role"] not in PARTS for turn in [*one.prompt, *(r.content[0] for r in one.responses)]):
        return STRANGER
    names = [f"{one.external_id}/{place}" for place in range(len(one.prompt))]
    tree: Row = {"message_tree_id": names[0], "tree_state": "ready_for_export"}
    rows: list[Row] = [
        {"message_id": name, "parent_id": parent, **tree, "role": PARTS[turn["role"]], "text": turn["content"]}
        | {"rank": None, "model_name": None, "meta": None}
        for name, parent, turn in zip(names, [None, *names], one.prompt, strict=False)
    ]
    question = "ranking" if "ranking" in one.value else "preference"
    for response in one.responses:
        [turn] = response.content
        name = f"{one.external_id}/{response.key}"
        said = {"role": PARTS[turn["role"]], "text": turn["content"], "rank": ranks[response.key]}
        beside = {"model_name": response.source, "meta": about(one, question)}
        rows.append({"message_id": name, "parent_id": names[-1], **tree, **said, **beside})
    return rows


def _ranks(one: Decided) -> dict[str, int] | str:
    """From 0, without a gap; why there are none."""
    if "ranking" in one.value:
        given = one.value["ranking"]["ranks"]
        if len(given) < len(one.responses):
            return UNANSWERED
        places = sorted(set(given.values()))
        if len(places) == 1:
            return TIED
        return {key: places.index(rank) for key, rank in given.items()}
    said = one.value.get("preference")
    if said is None:
        return next(iter(one.undecided.values()), UNANSWERED)
    if said["winner"] is None:
        return BAD if said.get("outcome") == "both_bad" else TIED
    return {key: int(key != said["winner"]) for key in one.keys}
