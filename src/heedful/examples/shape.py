"""Reshaping Examples to what an objective's view needs: demonstrations, pairs, singles, lists.

Pure functions: the Examples they are given stay as they are.  Whatever cannot take the shape is dropped with a
reason, and what a reader of `data.json` should know is a note.  Equal answers are kept: the data check judges them.

`prefer` says whose verdict counts: `human` (ranks, `better`, `desirable`) or `reward` (the responses' rewards).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from heedful.types import Example, Message, Response

Prefer = Literal["human", "reward"]


@dataclass(frozen=True)
class Dropped:
    """Something that is not trained on: where it came from, and why."""

    origin: str | None
    reason: str


@dataclass
class Shaped:
    """Examples of one shape, what could not take it, and what should be known about the rest."""

    examples: list[Example] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, example: Example, reason: str) -> None:
        self.dropped.append(Dropped(example.origin, reason))

    def then(self, reshape: Callable[..., Shaped], *args: Any, **settings: Any) -> Shaped:
        """`reshape(self.examples, ...)`, with what was dropped and noted before."""
        after = reshape(self.examples, *args, **settings)
        return Shaped(after.examples, self.dropped + after.dropped, self.notes + after.notes)


def standings(example: Example, prefer: Prefer) -> list[float | None]:
    """A place for each response, lower is better; None for a response nobody judged."""
    if prefer == "reward":
        return [None if response.reward is None else -response.reward for response in example.responses]
    ranks: list[float | None] = [response.rank for response in example.responses]
    ranked = sum(rank is not None for rank in ranks) > 1
    if example.better is not None and (len(example.responses) == 2 or not ranked):
        return [float(index != example.better) for index in range(len(example.responses))]
    if ranked:
        return ranks
    return [None if response.desirable is None else float(not response.desirable) for response in example.responses]


def _unjudged(example: Example, prefer: Prefer) -> str:
    """Why a comparison has no winner."""
    judged = [place for place in standings(example, prefer) if place is not None]
    if len(judged) > 1:
        return "a tie: the responses have equal rewards" if prefer == "reward" else "a tie: no response is better"
    if prefer == "reward":
        return "fewer than two responses have a reward"
    rewarded = all(response.reward is not None for response in example.responses)
    return "no human verdict" + (" (prefer=reward would compare the rewards)" if rewarded else "")


# pairs


def to_pairs(examples: Sequence[Example], *, prefer: Prefer = "human") -> Shaped:
    """Pairs: responses[0] is chosen, responses[1] rejected, `better` is 0.

    More than two responses give every strictly ordered pair, each an Example of its own.  `strength` and `margin`
    speak of the human's verdict and are kept where the pair agrees with it.
    """
    shaped = Shaped()
    disagreements = rankings = 0
    for example in examples:
        num_responses = len(example.responses)
        if num_responses < 2:
            shaped.drop(example, f"{'one' if num_responses else 'no'} response: nothing to compare")
            continue
        ordered = _ordered(standings(example, prefer))
        if not ordered:
            shaped.drop(example, _unjudged(example, prefer))
        opposite = set(_ordered(standings(example, "human" if prefer == "reward" else "reward")))
        disagreements += sum((rejected, chosen) in opposite for chosen, rejected in ordered)
        rankings += num_responses > 2
        shaped.examples += [_pair(example, chosen, rejected) for chosen, rejected in ordered]
    if rankings:
        shaped.notes.append(f"rankings turned into all their strictly ordered pairs: {rankings:,}")
    if disagreements:
        of_all = f"{disagreements:,} of {len(shaped.examples):,}"
        shaped.notes.append(f"pairs in which human verdict and reward disagree: {of_all} (prefer={prefer} decides)")
    return shaped


def _ordered(places: Sequence[float | None]) -> list[tuple[int, int]]:
    """(better, worse) for every two responses that have different places."""
    judged = [(index, place) for index, place in enumerate(places) if place is not None]
    return [(i, j) for i, first in judged for j, second in judged if first < second]


def _pair(example: Example, chosen: int, rejected: int) -> Example:
    several = len(example.responses) > 2
    agrees = example.better in (None, chosen)
    return replace(
        example,
        responses=[example.responses[chosen], example.responses[rejected]],
        better=0,
        safer=None if example.safer is None else {chosen: 0, rejected: 1}.get(example.safer),
        strength=example.strength if agrees else None,
        margin=example.margin if agrees else None,
        id=f"{example.id}:{chosen}>{rejected}" if several and example.id is not None else example.id,
    )


# demonstrations


def to_demonstrations(examples: Sequence[Example], *, prefer: Prefer = "human") -> Shaped:
    """Demonstrations: one response each; of a pair the better one, of a ranking the best.

    The response begins at the last assistant turn, and everything before it is prompt.  Which of a dialogue's turns
    are trained on is the encoder's to say (`train_on`).
    """
    shaped = Shaped()
    compared = 0
    for example in examples:
        best = _best(example, prefer)
        if not example.responses:
            shaped.drop(example, "no response")
        elif best is None:
            shaped.drop(example, _unjudged(example, prefer))
        elif example.responses[best].desirable is False:
            shaped.drop(example, "its best response is judged undesirable")
        else:
            compared += len(example.responses) > 1
            shaped.examples.append(_demonstration(example, example.responses[best]))
    if compared:
        shaped.notes.append(f"comparisons whose best response became a demonstration: {compared:,}")
    return shaped


def _best(example: Example, prefer: Prefer) -> int | None:
    """The index of the best response (the first of equals); None where responses were not compared."""
    if len(example.responses) == 1:
        return 0
    judged = [(place, index) for index, place in enumerate(standings(example, prefer)) if place is not None]
    if len(judged) == 1 and not example.responses[judged[0][1]].desirable:
        return None
    return min(judged)[1] if judged else None


def _demonstration(example: Example, response: Response) -> Example:
    prompt, answer = _cut(example.prompt, response.messages)
    return replace(
        example,
        prompt=prompt,
        responses=[replace(response, messages=answer)],
        better=None,
        safer=None,
        strength=None,
        margin=None,
    )


def _cut(prompt: list[Message], response: list[Message]) -> tuple[list[Message], list[Message]]:
    turns = [*prompt, *response]
    last = max((index for index, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    return (turns[:last], turns[last:]) if last >= len(prompt) else (prompt, response)


# singles


def to_singles(examples: Sequence[Example], *, prefer: Prefer = "human") -> Shaped:
    """Singles: every response says whether it is desirable; the responses of one prompt stay in one Example.

    Of a pair the chosen response is desirable and the rejected one undesirable; of a ranking the best and the worst,
    and those between are dropped.  A response that says so itself keeps its own label (unless prefer=reward).
    """
    shaped = Shaped()
    compared = 0
    for example in examples:
        labels = _labels(example, prefer)
        judged = [index for index, label in enumerate(labels) if label is not None]
        if not judged:
            shaped.drop(example, _unlabelled(example, prefer))
            continue
        for _ in range(len(labels) - len(judged)):
            shaped.drop(example, "a response between the best and the worst of its ranking, or one nobody judged")
        compared += example.responses[judged[0]].desirable is None
        kept = [replace(example.responses[index], desirable=labels[index]) for index in judged]
        shaped.examples.append(_with_responses(example, kept, judged))
    if compared:
        shaped.notes.append(f"comparisons that became desirable and undesirable responses: {compared:,}")
    return shaped


def _with_responses(example: Example, responses: list[Response], kept: list[int]) -> Example:
    """An Example with those of its responses that are kept; verdicts follow their response."""
    place = {old: new for new, old in enumerate(kept)}
    better, safer = (place.get(index) if index is not None else None for index in (example.better, example.safer))
    return replace(example, responses=responses, better=better, safer=safer)


def _labels(example: Example, prefer: Prefer) -> list[bool | None]:
    own = [response.desirable for response in example.responses]
    if (prefer == "human" or len(own) == 1) and any(label is not None for label in own):
        return own
    places = standings(example, prefer)
    judged = [place for place in places if place is not None]
    if len(set(judged)) < 2:
        return [None] * len(places)
    return [place == min(judged) if place in (min(judged), max(judged)) else None for place in places]


def _unlabelled(example: Example, prefer: Prefer) -> str:
    if len(example.responses) < 2:
        return "not judged desirable or undesirable" if example.responses else "no response"
    return _unjudged(example, prefer)


def to_separate(examples: Sequence[Example]) -> Shaped:
    """Every response an Example of its own, with its labels."""
    return Shaped(
        [
            _with_responses(example, [response], [k])
            for example in examples
            for k, response in enumerate(example.responses)
        ]
    )


# lists


def to_lists(examples: Sequence[Example], *, prefer: Prefer = "human") -> Shaped:
    """Lists: two or more responses, each with a dense `rank` (1 is best, equal ranks are ties); not all tied."""
    shaped = Shaped()
    for example in examples:
        places = standings(example, prefer)
        order = sorted({place for place in places if place is not None})
        if len(order) < 2:
            short = len(example.responses) < 2
            shaped.drop(example, "fewer than two responses to rank" if short else _unjudged(example, prefer))
            continue
        ranks = {place: rank for rank, place in enumerate(order, start=1)}
        judged = [(index, ranks[place]) for index, place in enumerate(places) if place is not None]
        ranked = [replace(example.responses[index], rank=rank) for index, rank in judged]
        shaped.examples.append(_with_responses(example, ranked, [index for index, _ in judged]))
    return shaped
