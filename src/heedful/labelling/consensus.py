"""What labellers came to on every item: their answers gathered, adjudicated or aggregated, question by question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import floor
from statistics import fmean, median
from typing import Any

import numpy as np
from sqlalchemy import Connection, cast, func, select

from heedful.labelling.aggregation import Outcome, majority, one_coin
from heedful.labelling.beside import NOTHING, Beside, read_beside
from heedful.labelling.database import Spelled, stream
from heedful.labelling.gathered import Answer, Answers, Book
from heedful.labelling.items import Stored, responses_in, responses_of
from heedful.labelling.new_items import response_keys
from heedful.labelling.projects import Project
from heedful.labelling.questions import OUTCOMES, Value, competition_ranks
from heedful.labelling.tables import adjudication, annotation, item, membership
from heedful.labelling.values import BOTH_BAD, TIE, winner_number
from heedful.types import UserError

UNDECIDED = "the votes are tied"
ADJUDICATED = "adjudicated"
MAJORITY = "majority"
NO_DIFFERENCE = 1e-6
"""Between two posteriors: the answers do not tell which is right."""


@dataclass(slots=True)
class Decided:
    """An item and what was decided on it.

    value: the consensus, with only the questions that were decided.  confidence: of each, the share of votes or the
    posterior.  undecided: question → why there is no decision.  Items with the same answers share all three where a
    majority decided; what changes one of them copies it first (`own`).  beside: skips, gold and suggestions, where they
    were asked for.  project, version: whose item it is, and what asks its questions now.
    """

    id: int
    external_id: str
    kind: str
    state: str
    prompt: list[dict[str, str]]
    context: dict[str, str]
    meta: dict[str, Any]
    group: str
    responses: list[Stored]
    answers: Sequence[Answer]
    value: Value = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    method: str = "own"
    beside: Beside = NOTHING
    project: str = ""
    version: int = 0

    @property
    def n(self) -> int:
        """How many people answered."""
        return len(self.answers)

    def response(self, key: str) -> Stored:
        """The response of that name."""
        return self.responses[int(key[1:])]

    @property
    def values(self) -> list[Value]:
        """What was answered, in an order that tells nothing of who said it."""
        return self.answers.values if isinstance(self.answers, Answers) else [one.value for one in self.answers]

    def own(self) -> None:
        """What was decided is this item's alone from now on."""
        self.value, self.confidence, self.undecided = {**self.value}, {**self.confidence}, {**self.undecided}

    @property
    def keys(self) -> list[str]:
        """The responses' names."""
        return response_keys(len(self.responses))


class Gathered(list[Decided]):
    """Items of a project.  book: all answers to them."""

    def __init__(self, items: Iterable[Decided], book: Book) -> None:
        super().__init__(items)
        self.book = book

    @cached_property
    def alike(self) -> list[list[Decided]]:
        """The items, parted once by `alike`: what was answered does not change."""
        return alike(self)


def alike(items: Iterable[Decided]) -> list[list[Decided]]:
    """The items, those with as many responses and the same answers together, whoever gave these."""
    kinds: dict[tuple[int, int], list[Decided]] = defaultdict(list)
    for one in items:
        same = one.answers.values if isinstance(one.answers, Answers) else one.answers
        kinds[len(one.responses), id(same)].append(one)
    return list(kinds.values())


Aggregate = Callable[[Sequence["Decided"]], None]
"""Fills value, confidence and undecided of items from their answers."""


def gather(
    connection: Connection,
    found: Project,
    *,
    as_of: float | None = None,
    kinds: Sequence[str] = ("normal",),
    without_paused: bool = False,
    item_ids: Sequence[int] | None = None,
    people: bool = True,
    times: bool = False,
    spelled: bool = False,
    beside: bool = False,
) -> Gathered:
    """The items of a project with their answers, in the order of the data; void ones are left out.

    as_of: the answers as they were then.  without_paused: leave out the answers of labellers who are paused.
    people: with who gave each answer; otherwise only what was answered is sure to be there.  times: with when the
    answers were given, and how long they took.  spelled: prompts and responses of a whole project as they are stored,
    in an `orjson.Fragment`, to be written and not read.  beside: with skips, gold and suggestions.
    """
    names = ("id", "external_id", "kind", "state", "context", "meta", "group_key")
    here = [item.c.project_id == found.id, item.c.state != "void", item.c.kind.in_(kinds)]
    if item_ids is not None:
        here.append(item.c.id.in_(item_ids))
    prompt = cast(item.c.prompt, Spelled) if spelled else item.c.prompt
    asked = select(prompt, *[item.c[name] for name in names]).where(*here).order_by(item.c.position, item.c.id)
    rows = list(stream(connection, asked))
    wanted = [annotation.c.item_id.in_(select(item.c.id).where(*here)), *_conditions(found, as_of, without_paused)]
    book = Book.read(connection, found, wanted, people=people, times=times)
    if item_ids is not None:
        responses = responses_of(connection, item_ids)
    else:
        responses = responses_in(connection, found.id, spelled=spelled)
    whose = {"project": found.slug, "version": found.version}
    items = [
        Decided(key, name, kind, state, prompt, context or {}, meta or {}, group, responses[key], book.of(key), **whose)
        for prompt, key, name, kind, state, context, meta, group in rows
    ]
    if beside:
        of = read_beside(connection, found, as_of=as_of, without_paused=without_paused)
        for one in items:
            one.beside = of.get(one.id, NOTHING)
    return Gathered(items, book)


def _conditions(found: Project, as_of: float | None, without_paused: bool) -> list[Any]:
    """Which of the answers to an item are meant."""
    conditions: list[Any] = [annotation.c.is_current]
    if as_of is not None:
        newest = (
            select(annotation.c.slot_id, func.max(annotation.c.revision).label("revision"))
            .where(annotation.c.project_id == found.id, annotation.c.submitted_at <= as_of)
            .group_by(annotation.c.slot_id)
            .subquery()
        )
        of_slot = select(newest.c.revision).where(newest.c.slot_id == annotation.c.slot_id).scalar_subquery()
        conditions = [annotation.c.revision == of_slot]
    if without_paused:
        working = select(membership.c.user_id).where(membership.c.project_id == found.id, ~membership.c.paused)
        conditions.append(annotation.c.user_id.in_(working))
    return conditions


def decide(
    connection: Connection,
    found: Project,
    items: Sequence[Decided],
    aggregate: str | Aggregate = "majority",
    *,
    as_of: float | None = None,
) -> None:
    """Fill in what was decided.  An adjudication overrides the votes on the questions that it answers.

    aggregate: `majority`, `onecoin`, or a function.  as_of: the adjudications as they were then.
    Raises UserError for another name.
    """
    if callable(aggregate):
        aggregate(items)
    elif aggregate in AGGREGATES:
        AGGREGATES[aggregate](items)
    else:
        raise UserError(f"aggregate must be {', '.join(AGGREGATES)} or path.py:function, not {aggregate!r}.")
    by_id = {one.id: one for one in items}
    asked = (
        select(adjudication.c.item_id, adjudication.c.value)
        .join(item, item.c.id == adjudication.c.item_id)
        .where(item.c.project_id == found.id)
        .order_by(adjudication.c.id)
    )
    asked = asked.where(adjudication.c.superseded_by.is_(None) if as_of is None else adjudication.c.at <= as_of)
    for item_id, value in map(tuple, connection.execute(asked)):
        one = by_id.get(item_id)
        if one is not None:
            one.value, one.confidence = {**one.value, **value}, {**one.confidence, **dict.fromkeys(value, 1.0)}
            one.undecided = {name: why for name, why in one.undecided.items() if name not in value}
            one.method = ADJUDICATED


def by_majority(items: Sequence[Decided]) -> None:
    """Strict majority of every categorical question, the median of strengths, the mean of grades and ranks.

    What was decided before is forgotten: an own aggregate calls this first.
    """
    _by_majority(items)
    for one in items:
        one.own()


def _by_majority(items: Sequence[Decided]) -> None:
    """Items with the same answers share what was decided."""
    for first, *others in items.alike if isinstance(items, Gathered) else alike(items):
        first.value, first.confidence, first.undecided = {}, {}, {}
        _decide_one(first)
        first.method = MAJORITY
        for one in others:
            one.value, one.confidence, one.undecided = first.value, first.confidence, first.undecided
            one.method = MAJORITY


def by_one_coin(items: Sequence[Decided]) -> None:
    """Preferences and `safer` by one-coin EM over the whole project; everything else by majority."""
    _by_majority(items)
    for question in ("preference", "safer"):
        labels = [
            (row, answer.labeller, winner_number(answer.value[question]))
            for row, one in enumerate(items)
            for answer in one.answers
            if question in answer.value
        ]
        if not labels:
            continue
        categories = sorted({label for _, _, label in labels})
        names = sorted({name for _, name, _ in labels})
        rows = np.array([row for row, _, _ in labels])
        there, units = np.unique(rows, return_inverse=True)
        raters = np.array([names.index(name) for _, name, _ in labels])
        codes = np.array([categories.index(label) for _, _, label in labels])
        found = one_coin(units, raters, codes, len(categories))
        for place, row in enumerate(there):
            one = items[row]
            one.method = "onecoin"
            second, best = np.argsort(found.posterior[place])[-2:] if len(categories) > 1 else (0, 0)
            share = float(found.posterior[place, best])
            is_tied = best != second and share - found.posterior[place, second] < NO_DIFFERENCE
            _settle(one, question, Outcome(None if is_tied else categories[best], share, one.n))


AGGREGATES: dict[str, Aggregate] = {MAJORITY: _by_majority, "onecoin": by_one_coin}


def _decide_one(one: Decided) -> None:
    values = one.values
    for question in ("preference", "safer"):
        labels = [winner_number(value[question]) for value in values if question in value]
        if labels:
            _settle(one, question, majority(labels))
    _decide_thumbs(one, values)
    _decide_safety(one, values)
    rankings = [value["ranking"]["ranks"] for value in values if "ranking" in value]
    if rankings:
        mean = {key: fmean(ranks[key] for ranks in rankings) for key in one.keys}
        one.value["ranking"] = {"ranks": competition_ranks(mean)}
        one.confidence["ranking"] = _share([tuple(sorted(ranks.items())) for ranks in rankings])
    ratings = [value["rating"] for value in values if "rating" in value]
    if ratings:
        one.value["rating"] = {
            key: {
                name: fmean(rating[key][name] for rating in ratings if name in rating[key])
                for name in sorted({name for rating in ratings for name in rating[key]})
            }
            for key in one.keys
        }
        one.confidence["rating"] = 1.0
    sure = [value["confidence"] for value in values if "confidence" in value]
    if sure:
        one.value["confidence"] = fmean(sure)


def _settle(one: Decided, question: str, outcome: Outcome) -> None:
    """Write a decided winner, or why there is none; with it how strong the winner's side thinks it is."""
    one.own()
    one.value.pop(question, None)
    one.undecided.pop(question, None)
    one.confidence[question] = outcome.share
    if outcome.label is None:
        one.undecided[question] = UNDECIDED
        return
    label: Any = outcome.label
    said: dict[str, Any] = {"winner": None if label in (TIE, BOTH_BAD) else f"r{label}"}
    if question == "preference":
        if said["winner"] is None:
            said["outcome"] = OUTCOMES[0] if label == TIE else OUTCOMES[1]
        strengths = [
            value[question]["strength"]
            for value in one.values
            if value.get(question, {}).get("winner") == said["winner"] and value[question].get("strength") is not None
        ]
        if strengths and said["winner"] is not None:
            said["strength"] = median(strengths)
    one.value[question] = said


def _decide_thumbs(one: Decided, values: Sequence[Value]) -> None:
    given = [value["thumbs"] for value in values if "thumbs" in value]
    if not given:
        return
    outcomes = {key: majority([thumbs[key] for thumbs in given]) for key in one.keys}
    one.value["thumbs"] = {key: found.label for key, found in outcomes.items() if found.label is not None}
    one.confidence["thumbs"] = min(found.share for found in outcomes.values())
    if len(one.value["thumbs"]) < len(outcomes):
        one.undecided["thumbs"] = UNDECIDED


def _decide_safety(one: Decided, values: Sequence[Value]) -> None:
    """Safe by the vote; of unsafe responses the harms that more than half of those name who call it unsafe."""
    given = [value["safety"] for value in values if "safety" in value]
    if not given:
        return
    decided = {}
    outcomes = {key: majority([safety[key]["is_safe"] for safety in given]) for key in one.keys}
    for key, found in outcomes.items():
        if found.label is None:
            one.undecided["safety"] = UNDECIDED
            continue
        agreeing = [safety[key] for safety in given if safety[key]["is_safe"] == found.label]
        harms = Counter(harm for judged in agreeing for harm in judged["harms"])
        decided[key] = {
            "is_safe": found.label,
            "harms": sorted(harm for harm, count in harms.items() if 2 * count > len(agreeing)),
        }
        severities = [judged["severity"] for judged in agreeing if judged.get("severity") is not None]
        if severities:
            decided[key]["severity"] = floor(median(severities) + 0.5)
    one.value["safety"] = decided
    one.confidence["safety"] = min(found.share for found in outcomes.values())


def _share(labels: Iterable[Any]) -> float:
    counts = Counter(labels)
    return max(counts.values()) / sum(counts.values())


def agreement_of(one: Decided, question: str) -> float | None:
    """The share of the answers that say what the consensus says; None without a consensus."""
    said = one.value.get(question)
    if said is not None and one.method == MAJORITY and question in ("preference", "safer"):
        return one.confidence[question]
    given = [value[question] for value in one.values if question in value]
    if said is None or not given:
        return None
    if question in ("preference", "safer"):
        wanted = winner_number(said)
        return sum([winner_number(value) == wanted for value in given]) / len(given)
    if question == "ranking":
        return fmean(value["ranks"] == said["ranks"] for value in given)
    if question == "thumbs":
        return fmean(value == said for value in given)
    return None
