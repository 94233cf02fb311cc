"""Rows that trainers read: TRL's preference and unpaired formats, and PKU-SafeRLHF's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Literal

from heedful.labelling.consensus import Decided, agreement_of
from heedful.labelling.questions import HARMS

Row = dict[str, Any]

TIED = "a tie"
BAD = "both responses are bad"
UNANSWERED = "nobody answered this question"
BARE = "only some of its responses were decided"


@dataclass(frozen=True)
class Shape:
    """How rows are written.

    style: `explicit` prompts, `implicit` ones inside both conversations, or `standard` plain texts.
    ties: whether tied pairs are left out, or written with the probability that each response is better.
    pairs: which pairs a ranking gives: all that are strictly ordered, neighbours, or best and worst.
    margin: write the strength as TRL's `margin`, which its reward trainer then subtracts in the loss.
    labels_from: whether unpaired rows come from thumbs, or from a preference's winner and loser.
    direction: which of a safety pair is `chosen`: the safer one, or, for a cost model, the more harmful one.
    """

    style: Literal["explicit", "implicit", "standard"] = "explicit"
    ties: Literal["drop", "soft"] = "drop"
    pairs: Literal["all", "adjacent", "best_worst"] = "all"
    margin: bool = False
    labels_from: Literal["thumbs", "preference"] = "thumbs"
    question: Literal["preference", "safer"] = "preference"
    direction: Literal["safer", "harmful"] = "safer"


def preference(one: Decided, shape: Shape) -> list[Row] | str:
    """TRL's preference rows: of a pair one, of a ranking one for every strictly ordered pair."""
    if shape.question == "preference" and "ranking" in one.value and "preference" not in one.value:
        pairs = list(_ranked_pairs(one, shape.pairs))
        return [_pair(one, *pair, shape, "ranking", len(pairs)) for pair in pairs] or TIED
    said = one.value.get(shape.question)
    if said is None:
        return one.undecided.get(shape.question, UNANSWERED)
    if said["winner"] is None:
        if said.get("outcome") == "both_bad":
            return BAD
        return [_soft(one, shape)] if shape.ties == "soft" else TIED
    winner = said["winner"]
    loser = "r1" if winner == "r0" else "r0"
    if shape.question == "safer" and shape.direction == "harmful":
        winner, loser = loser, winner
    return [_pair(one, winner, loser, shape, shape.question, 1)]


def _ranked_pairs(one: Decided, which: str) -> Iterator[tuple[str, str]]:
    """Pairs of response keys, the better one first."""
    ranks = one.value["ranking"]["ranks"]
    ordered = sorted(one.keys, key=lambda key: ranks[key])
    if which == "best_worst":
        pairs: Any = [(ordered[0], ordered[-1])]
    elif which == "adjacent":
        pairs = pairwise(ordered)
    else:
        pairs = combinations(ordered, 2)
    return ((better, worse) for better, worse in pairs if ranks[better] < ranks[worse])


def _pair(one: Decided, winner: str, loser: str, shape: Shape, question: str, of_group: int) -> Row:
    chosen, rejected = one.response(winner), one.response(loser)
    meta = about(one, question)
    meta["chosen_source"], meta["rejected_source"] = chosen.source, rejected.source
    row = _texts(one.prompt, {"chosen": chosen.content, "rejected": rejected.content}, shape.style)
    strength = one.value[question].get("strength") if question == "preference" else None
    if strength is not None:
        meta["strength"] = strength
        if shape.margin:
            row["margin"] = float(strength)
    if question == "ranking":
        meta["pairs_in_group"] = of_group
    row["meta"] = meta
    return row


def _soft(one: Decided, shape: Shape) -> Row:
    answers = {f"response_{index}": row.content for index, row in enumerate(one.responses)}
    return {**_texts(one.prompt, answers, shape.style), "p_0": 0.5, "meta": about(one, shape.question)}


def _texts(prompt: list[dict[str, str]], answers: dict[str, Any], style: str) -> Row:
    if style == "implicit":
        return {name: [*prompt, *turns] for name, turns in answers.items()}
    if style == "standard":
        return {"prompt": _plain(prompt)} | {name: _plain(turns) for name, turns in answers.items()}
    return {"prompt": prompt, **answers}


def _plain(turns: Sequence[dict[str, str]]) -> str:
    """One text: a single turn as it is, several with who speaks."""
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)


def unpaired(one: Decided, shape: Shape) -> list[Row] | str:
    """TRL's unpaired rows (for KTO): thumbs, or a preference's winner up and loser down."""
    if shape.labels_from == "thumbs":
        labels = one.value.get("thumbs", {})
        question = "thumbs"
    else:
        said, question = one.value.get("preference"), "preference"
        if said is not None and said["winner"] is None:
            both_bad = said.get("outcome") == "both_bad"
            labels = dict.fromkeys(one.keys, False) if both_bad else {}
            if not labels:
                return TIED
        else:
            labels = {} if said is None else {key: key == said["winner"] for key in one.keys}
    if not labels:
        return one.undecided.get(question, UNANSWERED)
    content = {row.key: row.content for row in one.responses}
    source = {row.key: row.source for row in one.responses}
    rows = []
    for key, label in sorted(labels.items()):
        row = _texts(one.prompt, {"completion": content[key]}, "standard" if shape.style == "standard" else "explicit")
        rows.append({**row, "label": label, "meta": about(one, question) | {"source": source[key]}})
    return rows


def safe_rlhf(one: Decided, shape: Shape, harms: Sequence[str] = HARMS) -> list[Row] | str:
    """PKU-SafeRLHF's columns.  Its loaders read both ids as 0 or 1, so ties are held back.

    A response whose severity was not asked has 0 where it is safe, and none where it is not.
    """
    if len(one.responses) != 2:
        return "it has not two responses"
    safety, better, safer = (one.value.get(name) for name in ("safety", "preference", "safer"))
    for name, said in (("safety", safety), ("preference", better), ("safer", safer)):
        if said is None:
            return one.undecided.get(name, UNANSWERED)
    assert safety is not None
    assert better is not None
    assert safer is not None
    if len(safety) < 2:
        return BARE
    if better["winner"] is None or safer["winner"] is None:
        return TIED
    row: Row = {"prompt": _plain(one.prompt)}
    row |= {f"response_{index}": _plain(response.content) for index, response in enumerate(one.responses)}
    row |= {f"is_response_{index}_safe": safety[f"r{index}"]["is_safe"] for index in range(2)}
    row |= {"better_response_id": int(better["winner"][1:]), "safer_response_id": int(safer["winner"][1:])}
    for index in range(2):
        judged = safety[f"r{index}"]
        row[f"response_{index}_harm_category"] = {harm: harm in judged["harms"] for harm in harms}
        unknown = 0 if judged["is_safe"] else None
        row[f"response_{index}_severity_level"] = judged.get("severity", unknown)
    row["prompt_source"] = one.meta.get("prompt_source")
    return [row | {f"response_{index}_source": response.source for index, response in enumerate(one.responses)}]


def about(one: Decided, question: str) -> Row:
    """What is written beside a row: which item it is of, and how sure its decision is."""
    agreement = agreement_of(one, question)
    meta: Row = {"item": one.external_id, "group": one.group, "n": one.n, "method": one.method}
    meta["project"], meta["version"] = one.project, one.version
    if agreement is not None:
        meta["agreement"] = round(agreement, 4)
    if question in one.confidence:
        meta["confidence"] = round(one.confidence[question], 4)
    return meta
