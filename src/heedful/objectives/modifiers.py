"""Settings that every objective they fit takes beside its own; they act around its function, never inside.

`humanline` changes what the objective sees; `wpo` weighs the terms it returns, `nll_weight` adds one; then the data's
weights multiply them all (`reduce.weighted`).  In each function below the keyword-only parameter is the setting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from heedful.maths import segment_sum
from heedful.objectives.reduce import Modifier, Objective, Term, view_of
from heedful.objectives.settings import NonNegative
from heedful.objectives.trial import needs
from heedful.objectives.views import Batch, Lists, Pairs, Singles, Tokens, View
from heedful.types import UserError

Terms = dict[str, Term]


def humanline(view: View, *, humanline: tuple[float, float] | None = None) -> Batch:
    """Clamp each token's log π - log π_ref, without gradient outside the bounds.  HALOs' humanline variants.

    humanline: [lower, upper] bounds of a token's log π - log π_ref, nats, around 0; a token beyond them trains nothing,
        so narrower bounds stay closer to the reference.  Published as [-1, 1.5], with sync_reference_every=1.  null: no
        bounds.
    """
    assert humanline is not None
    lower, upper = humanline
    logps, ref_logps = view.logps, view.ref_logps
    ratio = (logps - ref_logps).detach()
    inside = (ratio >= lower) & (ratio <= upper)
    clamped = torch.where(inside, logps, ref_logps + ratio.clamp(lower, upper))
    return replace(view.batch, tokens={**view.batch.tokens, "logps": clamped})


def wpo(pairs: Pairs, terms: Terms, *, wpo: bool = False) -> Terms:
    """Weigh each pair's terms by min(1, w_w·w_l), w = exp(mean_t [log π(y_t) - log Σ_v π(v)²]), without gradient.

    Zhou et al. 2024, eq. 6 and 8, arXiv:2406.11827.

    wpo: weigh each pair by how probable the policy finds both of its responses, as if it had sampled them itself.
    """
    assert wpo
    if other := next((name for name, term in terms.items() if term.over != "pairs"), None):
        raise ValueError(f"wpo weighs pairs, and its term {other!r} is over {terms[other].over}")
    weight = torch.exp(_probability(pairs.chosen) + _probability(pairs.rejected)).clamp(max=1.0)
    return {name: replace(term, values=term.values * weight) for name, term in terms.items()}


def _probability(singles: Singles) -> Tensor:
    """How likely the response's tokens are beside what the policy would sample: a mean per token, nats."""
    return singles.sum(singles.logps.detach() - singles.sum_p2.log()) / singles.lengths.clamp(min=1)


def nll_weight(view: View, terms: Terms, *, nll_weight: NonNegative = 0.0) -> Terms:
    """Add λ·(-log π(y)/|y|) of the better responses.  RPO; Pang et al. 2024, eq. 1, arXiv:2404.19733.

    nll_weight: λ, weight of the mean negative log-likelihood per token of the chosen response of each pair, of the
        desirable among single responses, of the best of each list; larger imitates them more.  0: none.
    """
    if "nll" in terms:
        raise ValueError("nll_weight adds a term 'nll', and it has one of that name already")
    return {**terms, "nll": _imitation(view, nll_weight)}


def _imitation(view: View, weight: float) -> Term:
    if isinstance(view, Pairs):
        return Term(-weight * view.chosen.mean_logps, over="pairs")
    if isinstance(view, Singles):
        return Term(-weight * view.mean_logps, view.desirable.to(view.logps.dtype), over="responses")
    assert isinstance(view, Lists)
    best = (view.batch.response("rank") == 1).to(view.singles.logps.dtype)
    of_best = segment_sum(best * view.singles.mean_logps, view.group_sizes) / segment_sum(best, view.group_sizes)
    return Term(-weight * of_best, over="groups")


MODIFIERS = (Modifier(humanline, before=True), Modifier(wpo, before=False), Modifier(nll_weight, before=False))

FITS: dict[str, Mapping[type[View], frozenset[str]]] = {
    "humanline": dict.fromkeys((Tokens, Singles, Pairs, Lists), frozenset({"logps", "ref_logps"})),
    "wpo": {Pairs: frozenset({"logps"})},
    "nll_weight": {
        Pairs: frozenset({"logps"}),
        Singles: frozenset({"logps", "desirable"}),
        Lists: frozenset({"logps", "rank"}),
    },
}
"""Which views a modifier fits, and what their objective must read for it to mean anything."""


def attach(function: Callable, defaults: Mapping[str, Any] | None) -> Callable:
    """Give an objective's function the modifiers that fit it, in its attribute `modifiers`, and give it back.

    defaults: the function's settings where it can be tried with them; None offers all that fit its view.
    """
    view, own = view_of(function), inspect.signature(function).parameters
    try:
        read = None if defaults is None else needs(Objective(function.__name__, function, defaults))
    except Exception:  # Whatever is wrong with it is said when it is bound.
        read = None
    fitting = [m for m in MODIFIERS if m.setting not in own and view in FITS[m.setting]]
    fitting = [m for m in fitting if read is None or FITS[m.setting][view] <= read]
    function.modifiers = tuple(fitting)  # type: ignore[attr-defined]
    return function


def check(objective: Objective) -> None:
    """Raise UserError for a modifier that could not act, or not as it is set."""
    plain = replace(objective, settings=objective.own_settings)
    for modifier, value in objective.modifiers:
        wanted = FITS[modifier.setting][objective.view] - needs(plain)
        if wanted:
            raise UserError(
                f"{modifier.setting} has no effect on {objective.name} with these settings, which reads no "
                f"{' or '.join(sorted(wanted))}; leave {modifier.setting} out."
            )
        if modifier.setting == "humanline" and not value[0] < 0 < value[1]:
            raise UserError(f"humanline={list(value)}: the bounds must lie on both sides of 0, as in [-1,1.5].")
