"""Laws that every objective of the namespace obeys; and that each law finds the mistake it is there for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from heedful.objectives import REGISTRY, plain
from heedful.objectives.modifiers import FITS
from heedful.objectives.reduce import Objective, whole_step
from heedful.objectives.views import Pairs, Singles
from heedful.proofs.laws import EXEMPT, LAWS, inapplicable, obeys, unexplained

NAMES = sorted(REGISTRY)


def objective(name: str) -> Objective:
    return plain(name)


CASES = [(law, name) for law in LAWS for name in NAMES if inapplicable(objective(name), law) is None]


@pytest.mark.parametrize(("law", "name"), CASES)
def test_every_objective_obeys(law: str, name: str):
    verdict = obeys(objective(name), law)
    assert verdict.passed, verdict.problem


MODIFIED = [("dpo", {"wpo": True}), ("dpo", {"humanline": (-1.0, 1.5)}), ("kto", {"humanline": (-1.0, 1.5)})]
MODIFIED += [(name, {"nll_weight": 0.5}) for name in ("dpo", "kto", "plackett_luce")]


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize(("name", "settings"), MODIFIED)
def test_modified_objectives_obey(name: str, settings: dict, law: str):
    verdict = obeys(Objective(name, REGISTRY[name], settings), law)
    assert verdict.passed, verdict.problem


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_what_every_setting_does(name: str):
    assert unexplained(REGISTRY[name]) == []


def test_exemptions_name_what_is_there():
    assert set(EXEMPT) <= set(REGISTRY) | set(FITS)
    assert {law for laws in EXEMPT.values() for law in laws} <= set(LAWS)


# ---- broken objectives


def mean_of_the_batch(pairs: Pairs):
    return (pairs.margin - pairs.margin.mean()) ** 2


def naive_logarithm(pairs: Pairs):
    return -torch.log(torch.sigmoid(pairs.margin))


def flat_at_the_start(pairs: Pairs):
    return pairs.margin**2


@whole_step
def by_position(singles: Singles):
    return singles.seq_logps * torch.arange(1, len(singles.lengths) + 1)


def upside_down(pairs: Pairs):
    return -F.logsigmoid(-pairs.margin)


def half_detached(pairs: Pairs):
    return pairs.margin * pairs.margin.detach()


def averaged_metric(pairs: Pairs):
    return -F.logsigmoid(pairs.margin), {"margin": pairs.margin.mean()}


BROKEN: dict[str, Callable] = {
    "fits packs": mean_of_the_batch,
    "finite": naive_logarithm,
    "trains at the start": flat_at_the_start,
    "order of prompts": by_position,
    "packs add up": mean_of_the_batch,
    "raises the better": upside_down,
    "lowers the worse": upside_down,
    "gradient of its value": half_detached,
    "metrics are unreduced": averaged_metric,
}


@pytest.mark.parametrize("law", list(LAWS))
def test_each_law_finds_its_mistake(law: str):
    assert obeys(Objective("mine", BROKEN[law], {}), law).problem


def test_a_function_says_itself_what_a_law_is_not_for():
    assert not obeys(Objective("mine", half_detached, {}), "gradient of its value").passed
    half_detached.exempt = {"gradient of its value": "the weight carries none"}  # type: ignore[attr-defined]
    try:
        verdict = obeys(Objective("mine", half_detached, {}), "gradient of its value")
    finally:
        del half_detached.exempt  # type: ignore[attr-defined]
    assert (verdict.passed, verdict.absent) == (True, "the weight carries none")
