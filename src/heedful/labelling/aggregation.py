"""From several people's answers to one: strict majority, one-coin EM; and Bradley-Terry for sources.

Axes: `N` labels, `U` units (items), `R` raters, `C` categories, `M` models (sources).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

Label = TypeVar("Label", bound=Hashable)


@dataclass(frozen=True)
class Outcome:
    """What an item came to.  label: None if it is a tie of the votes; share: of the votes that it got."""

    label: Hashable | None
    share: float
    n: int


def majority(labels: Sequence[Hashable]) -> Outcome:
    """The label that more labellers gave than any other; an equal vote stays undecided, whoever was first."""
    counts = Counter(labels).most_common()
    if not counts:
        return Outcome(None, 0.0, 0)
    share = counts[0][1] / len(labels)
    tied = len(counts) > 1 and counts[0][1] == counts[1][1]
    return Outcome(None if tied else counts[0][0], share, len(labels))


@dataclass(frozen=True)
class OneCoin:
    """posterior: of each category for each unit.  accuracy: of each rater; prior: of each category."""

    posterior: Float[np.ndarray, "U C"]
    accuracy: Float[np.ndarray, " R"]
    prior: Float[np.ndarray, " C"]


def one_coin(
    units: Int[np.ndarray, " N"],
    raters: Int[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    num_categories: int,
    *,
    strength: float = 4.0,
    expected: float = 0.7,
    tolerance: float = 1e-6,
    max_steps: int = 500,
) -> OneCoin:
    """EM for raters of one accuracy each, whose errors go to all other categories alike.

    The model of Dawid & Skene 1979 with one parameter a rater (Zhang et al. 2014, arXiv:1406.3824, one-coin).  A Beta
    prior of `strength` answers with mean accuracy `expected` keeps a rater with few answers from 0 and 1.
    units, raters, labels: who gave which unit what, numbered from 0; labels below `num_categories`.
    """
    num_units, num_raters = int(units.max(initial=-1)) + 1, int(raters.max(initial=-1)) + 1
    shape, cells = (num_units, num_categories), units * num_categories + labels
    posterior = np.bincount(cells, minlength=num_units * num_categories).reshape(shape) + 1e-9
    posterior /= posterior.sum(1, keepdims=True)
    accuracy, prior = np.full(num_raters, expected), np.full(num_categories, 1 / num_categories)
    per_rater = np.bincount(raters, minlength=num_raters)
    for _ in range(max_steps):
        right = np.bincount(raters, posterior[units, labels], num_raters)
        accuracy = (right + strength * expected) / (per_rater + strength)
        prior = (posterior.sum(0) + 1) / (num_units + num_categories)
        wrong = np.log((1 - accuracy) / max(num_categories - 1, 1))
        scores = np.log(prior) + np.bincount(units, wrong[raters], num_units)[:, None]
        scores += np.bincount(cells, (np.log(accuracy) - wrong)[raters], num_units * num_categories).reshape(shape)
        new = np.exp(scores - scores.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        change = np.abs(new - posterior).max(initial=0.0)
        posterior = new
        if change < tolerance:
            break
    return OneCoin(posterior, accuracy, prior)


@dataclass(frozen=True)
class Strengths:
    """Log-strengths, their sum zero, and their standard errors: P(i beats j) = σ(strength i - strength j)."""

    strength: Float[np.ndarray, " M"]
    error: Float[np.ndarray, " M"]


def bradley_terry(wins: Float[np.ndarray, "M M"], *, prior: float = 0.1, steps: int = 100) -> Strengths:
    """Maximum a posteriori of Bradley & Terry 1952, by Newton's method.

    wins: [i, j] how often i beat j; a tie is half a win of each.  prior: precision of a normal prior of the strengths,
    which keeps models apart that never met; larger draws all together.
    """
    num = len(wins)
    strength = np.zeros(num)
    games = wins + wins.T
    information = np.eye(num)
    for _ in range(steps):
        chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
        gradient = (wins - games * chance).sum(1) - prior * strength
        weight = games * chance * (1 - chance)
        information = np.diag(weight.sum(1) + prior) - weight
        step = np.linalg.solve(information, gradient)
        strength = strength + step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    if not num:
        return Strengths(strength, np.zeros(0))
    centred = np.eye(num) - 1 / num  # what all have in common is known only from the prior, and is taken out
    covariance = centred @ np.linalg.inv(information) @ centred
    return Strengths(centred @ strength, np.sqrt(np.diag(covariance)))
