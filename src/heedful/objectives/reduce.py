"""From what an objective returns to one loss: the only place where anything is summed or divided.

An objective returns *unreduced* values.  Every term is divided once, by its own weight summed over the whole optimizer
step (all packs, all ranks), so the loss does not depend on micro-batches, packing or the number of devices.

    loss = Σ_terms  Σ_i w_i·v_i / Σ_step w_i
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.maths import wide
from heedful.objectives.views import Batch, Lists, Pairs, Singles, Tokens, View

VIEWS: dict[str, type[View]] = {view.__name__: view for view in (Tokens, Singles, Pairs, Lists)}

POLICY, VALUE_HEAD = "policy", "value_head"
TRAINEES = {POLICY: frozenset({"logps", "entropy", "kl", "scores", "foretold"}), VALUE_HEAD: frozenset({"values"})}
"""Whose parameters a term may train, and through which columns: what reaches one trainee never moves the other."""


@dataclass(frozen=True)
class Term:
    """One named part of a loss.

    values: unreduced, one a unit, in the order of the units.
    weights: how much each unit counts (default 1); may depend on the data, never on the model's outputs.
    over: what a unit is: tokens, responses, pairs or groups; the view's own unit if left out.
    trainee: whose parameters it trains: `policy` or `value_head`.
    """

    values: Float[Tensor, " U"]
    weights: Float[Tensor, " U"] | None = None
    over: str | None = None
    trainee: str = POLICY

    @property
    def weight_sum(self) -> Float[Tensor, ""]:
        """Σ w over this part of the step."""
        if self.weights is None:
            return wide(torch.tensor(float(self.values.numel()), device=self.values.device))
        return wide(self.weights.detach()).sum()

    @property
    def numerator(self) -> Float[Tensor, ""]:
        """Σ w·v over this part of the step."""
        return self.values.sum() if self.weights is None else (self.values * self.weights).sum()


@dataclass(frozen=True)
class Outcome:
    """What an objective gave for one batch: terms with gradients, metrics without, and its running state."""

    terms: dict[str, Term]
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """Unreduced and detached; each is averaged once over the whole step."""
    state: dict[str, Tensor] | None = None

    @property
    def weight_sums(self) -> dict[str, Tensor]:
        """Σ w of every term over this batch: what a step that is this batch alone divides by."""
        return {name: term.weight_sum for name, term in self.terms.items()}


def statistics(**functions: Callable[..., Tensor]) -> Callable[[Callable], Callable]:
    """Declare numbers that an objective needs from the *whole step* before its first gradient.

    Each is a function of a `Singles` view of the mismatched answers, giving one value a response; the loop averages
    it over all packs and ranks without gradient and hands the mean to the objective as a positional parameter of the
    same name.  (KTO's reference point is one.)
    """

    def declare(objective: Callable) -> Callable:
        objective.statistics = functions  # type: ignore[attr-defined]
        return objective

    return declare


def whole_step(objective: Callable | None = None, *, when: str | None = None) -> Callable:
    """Mark an objective whose terms couple all examples of a step (an undetached batch mean, a sort).

    The loop then runs a step in two passes: log-probabilities of every pack without gradient, the objective on all of
    them at once, and a second forward that carries dL/dlogp back.  One pass suffices when a step is one pack.
    when: the setting that makes it so when it is on; always, if left out.
    """
    if objective is None:
        return partial(whole_step, when=when)
    objective.whole_step = when or True  # type: ignore[attr-defined]
    return objective


@dataclass(frozen=True)
class Modifier:
    """What acts around an objective's function (see `modifiers.py`).

    function: its keyword-only parameter, of the function's own name, is the setting.
    before: whether it changes what the objective sees, (view) → Batch; else what it returns, (view, terms) → terms.
    """

    function: Callable
    before: bool

    @property
    def setting(self) -> str:
        """The setting's name."""
        return self.function.__name__


@dataclass(frozen=True)
class Objective:
    """An objective with its settings bound: what the loop calls.

    settings: the function's own, and those of modifiers; what stands on null, false or 0 of these is off.
    """

    name: str
    function: Callable
    settings: Mapping[str, Any]

    @property
    def own_settings(self) -> dict[str, Any]:
        """The settings that the function itself takes."""
        others = {modifier.setting for modifier in self._offered}
        return {name: value for name, value in self.settings.items() if name not in others}

    @property
    def modifiers(self) -> list[tuple[Modifier, Any]]:
        """The modifiers that are on, with their values."""
        return [(m, self.settings[m.setting]) for m in self._offered if self.settings.get(m.setting)]

    @property
    def _offered(self) -> tuple[Modifier, ...]:
        return getattr(self.function, "modifiers", ())

    @property
    def view(self) -> type[View]:
        """The type of the function's first argument: what data it needs."""
        return view_of(self.function)

    @property
    def statistics(self) -> dict[str, Callable]:
        """Declared by `@statistics`."""
        return getattr(self.function, "statistics", {})

    @property
    def whole_step(self) -> bool:
        """Declared by `@whole_step`; running state is of the whole step too, never of one pack."""
        marked: str | bool = getattr(self.function, "whole_step", False)
        return self.stateful or bool(self.settings.get(marked) if isinstance(marked, str) else marked)

    @property
    def stateful(self) -> bool:
        """Whether it takes and returns running state."""
        return "state" in inspect.signature(self.function).parameters

    def __call__(
        self, batch: Batch, stats: Mapping[str, Tensor] | None = None, state: dict[str, Tensor] | None = None
    ) -> Outcome:
        view = self.view(self.seen(batch))
        extra: dict[str, Any] = {name: (stats or {})[name] for name in self.statistics}
        if self.stateful:
            extra["state"] = state or {}
        outcome = as_outcome(self.function(view, **extra, **self.own_settings), view.unit)
        terms = outcome.terms
        for modifier, value in self.modifiers:
            if not modifier.before:
                terms = modifier.function(self.view(batch), terms, **{modifier.setting: value})
        return replace(outcome, terms=weighted(terms, batch))

    def seen(self, batch: Batch) -> Batch:
        """The batch as its modifiers let the function (and its statistics) see it."""
        for modifier, value in self.modifiers:
            if modifier.before:
                batch = modifier.function(self.view(batch), **{modifier.setting: value})
        return batch


def view_of(function: Callable) -> type[View]:
    """The view a function's first parameter is annotated with.

    Raises ValueError, naming the function, if it is none of Tokens, Singles, Pairs, Lists.
    """
    name = getattr(function, "__name__", str(function))
    parameters = list(inspect.signature(function).parameters)
    try:
        hint = get_type_hints(function).get(parameters[0]) if parameters else None
    except NameError as error:
        raise ValueError(f"{name}: its annotations cannot be read ({error}); import what they name") from error
    if isinstance(hint, type) and issubclass(hint, View) and hint is not View:
        return hint
    raise ValueError(f"{name}: annotate its first parameter with one of {', '.join(VIEWS)}, not {hint!r}")


def as_outcome(result: Any, unit: str) -> Outcome:
    """Accept every form an objective may return: values, a Term, a dict of them; then metrics; then state."""
    parts = list(result) if isinstance(result, tuple) else [result]
    if len(parts) > 3:
        raise ValueError(f"an objective returns terms, metrics and state at most, not {len(parts)} things")
    terms: Any = parts[0]
    metrics: Any = parts[1] if len(parts) > 1 else {}
    state: Any = parts[2] if len(parts) > 2 else None
    named = terms if isinstance(terms, Mapping) else {"loss": terms}
    full = {}
    for name, term in named.items():
        term = term if isinstance(term, Term) else Term(term)
        if not isinstance(term.values, Tensor) or term.values.ndim != 1:
            shape = tuple(term.values.shape) if isinstance(term.values, Tensor) else type(term.values).__name__
            raise ValueError(f"term {name!r} must be a one-dimensional tensor of unreduced values, not {shape}")
        if term.weights is not None and term.weights.shape != term.values.shape:
            raise ValueError(
                f"term {name!r} has {term.values.numel()} values but {term.weights.numel()} weights; give one a value"
            )
        if term.over not in (None, "tokens", "responses", "pairs", "groups"):
            raise ValueError(f"term {name!r} is over {term.over!r}; it can be over tokens, responses, pairs or groups")
        if term.trainee not in TRAINEES:
            raise ValueError(f"term {name!r} trains {term.trainee!r}, but a run trains {' or '.join(TRAINEES)}")
        full[name] = Term(term.values, term.weights, term.over or unit, term.trainee)
    _check_tensors("metrics", "metric", metrics)
    _check_tensors("state", "state", {} if state is None else state)
    return Outcome(full, {k: v.detach() for k, v in metrics.items()}, state)


def _check_tensors(all_of_them: str, one: str, held: Any) -> None:
    """Raise ValueError for metrics or a state that no run could keep."""
    if not isinstance(held, Mapping):
        raise ValueError(f"its {all_of_them} must be a mapping of names to tensors, not {type(held).__name__}")
    for name, value in held.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"its {one} {name!r} must be a tensor, not {type(value).__name__}")


def weighted(terms: Mapping[str, Term], batch: Batch) -> dict[str, Term]:
    """The terms, each unit counting as often as the data's `weight` says, once where it says nothing.

    A token counts as its response does, a pair as its chosen response, a list as the best of its responses (the first
    of equals).  Of a term without a value for every unit, which no run with weights takes, all count alike.
    """
    column = batch.responses.get("weight")
    if column is None:
        return dict(terms)
    weight = torch.nan_to_num(column, nan=1.0)
    found = {}
    for name, term in terms.items():
        units = batch.by_unit(weight, term.over or "responses").to(term.values.dtype)
        if units.shape == term.values.shape:
            found[name] = replace(term, weights=units if term.weights is None else term.weights * units)
        else:
            assert bool((weight == 1).all()), f"weights, but not one for each value of term {name!r}"
            found[name] = term
    return found


def loss_of(outcome: Outcome, denominators: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Σ over terms of this batch's numerator over the step's denominator.

    denominators: for each term, Σ w over the whole step; a term that counts nothing in the whole step adds 0.
    """
    total = None
    for name, term in outcome.terms.items():
        denominator = denominators[name].to(term.values.dtype)
        part = term.numerator / torch.where(denominator > 0, denominator, 1.0)
        total = part if total is None else total + part
    assert total is not None, "an objective has at least one term"
    return total
