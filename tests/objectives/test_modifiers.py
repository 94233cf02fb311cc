"""What acts around an objective: bounds on log-ratios, pairs weighed by probability, imitation, the data's weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from heedful.config import settings_model
from heedful.objectives import REGISTRY, bind, get, plain
from heedful.objectives.reduce import loss_of
from heedful.objectives.trial import needs, unweightable
from heedful.objectives.views import Batch, Lists
from heedful.proofs.batches import leaves, random_batch
from heedful.types import UserError

VALUES = {"humanline": (-0.5, 0.7), "wpo": True, "nll_weight": 0.3}
CASES = [(name, modifier.setting) for name in sorted(REGISTRY) for modifier in REGISTRY[name].modifiers]


def loss(name: str, settings: dict, batch: Batch) -> torch.Tensor:
    objective = bind(name, settings)
    outcome = objective(batch, {n: torch.tensor(0.2, dtype=torch.float64) for n in objective.statistics})
    return loss_of(outcome, outcome.weight_sums)


def two_responses(logps: list[float], ref_logps: list[float], **columns: list[float]) -> Batch:
    """A chosen and a rejected response of two tokens each."""
    tokens = {"logps": torch.tensor(logps, requires_grad=True), "ref_logps": torch.tensor(ref_logps)}
    rows = {"chosen": [1.0, 0.0], "desirable": [1.0, 0.0], "rank": [1.0, 2.0], "weight": [1.0, 1.0]}
    tokens |= {name: torch.tensor(column) for name, column in columns.items() if len(column) == 4}
    rows |= {name: column for name, column in columns.items() if len(column) == 2}
    responses = {name: torch.tensor(column) for name, column in rows.items()}
    return Batch(torch.tensor([2, 2]), torch.tensor([0, 0]), tokens, responses)


# ---- by hand


def test_humanline_clamps_each_token_and_stops_its_gradient():
    # Log-ratios 2, -0.5 | 0.25, -3 in [-1, 1.5] become 1.5, -0.5 | 0.25, -1: the margin is 1 - (-0.75) = 1.75.
    batch = two_responses([-1.0, -2.0, -1.0, -5.0], [-3.0, -1.5, -1.25, -2.0])
    value = loss("dpo", {"beta": 1.0, "humanline": (-1.0, 1.5)}, batch)
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1.75)))
    (grad,) = torch.autograd.grad(value, [batch.tokens["logps"]])
    slope = 1 / (1 + math.exp(1.75))
    assert grad.tolist() == pytest.approx([0.0, -slope, slope, 0.0])


def test_wpo_weighs_a_pair_by_its_probability_under_the_policy():
    # Chosen: ((-1 - ln 0.5) + (-2 - ln 0.25)) / 2; rejected: ((-1.5 - ln 0.5) + (-0.5 - ln 0.5)) / 2.
    batch = two_responses([-1.0, -2.0, -1.5, -0.5], [-1.0, -2.0, -1.5, -0.5], sum_p2=[0.5, 0.25, 0.5, 0.5])
    chosen = (-3 + math.log(2) + math.log(4)) / 2
    rejected = -1 + math.log(2)
    value = loss("dpo", {"wpo": True}, batch)
    assert value.item() == pytest.approx(math.exp(chosen + rejected) * math.log(2))
    (grad,) = torch.autograd.grad(value, [batch.tokens["logps"]])
    # Only through the margin, whose slope at 0 is β·σ(0) = 0.05.
    assert grad.tolist() == pytest.approx([s * 0.05 * math.exp(chosen + rejected) for s in (-1, -1, 1, 1)])


def test_wpo_never_weighs_more_than_one():
    # log p = -0.1 is far above log Σp² = ln 0.5: the weight would be e^1.2.
    batch = two_responses([-0.1] * 4, [-0.1] * 4, sum_p2=[0.5] * 4)
    assert loss("dpo", {"wpo": True}, batch).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", ["dpo", "kto_zero", "plackett_luce"])
def test_nll_weight_imitates_the_better(name: str):
    # The chosen, desirable, best response has mean log-probability (-1 - 2)/2: 0.4 · 1.5 = 0.6 more.
    batch = two_responses([-1.0, -2.0, -1.5, -0.5], [-1.0, -2.0, -1.5, -0.5])
    plain, more = loss(name, {}, batch), loss(name, {"nll_weight": 0.4}, batch)
    assert (more - plain).item() == pytest.approx(0.6)


def test_ties_for_the_best_are_imitated_alike():
    batch = two_responses([-1.0, -2.0, -1.5, -0.5], [-1.0, -2.0, -1.5, -0.5], rank=[1.0, 1.0])
    terms = bind("plackett_luce", {"nll_weight": 1.0})(batch).terms
    assert terms["nll"].values.tolist() == pytest.approx([(1.5 + 1.0) / 2])


# ---- identities


@pytest.mark.parametrize(("name", "setting"), [case for case in CASES if case[1] == "humanline"])
def test_bounds_that_nothing_meets_change_nothing(name: str, setting: str):
    batch = random_batch(1)
    wide = loss(name, {setting: (-100.0, 100.0)}, batch)
    plain = loss(name, {}, batch)
    assert torch.equal(wide, plain)
    inputs = list(leaves(batch).values())
    for a, b in zip(*(torch.autograd.grad(v, inputs, allow_unused=True) for v in (wide, plain)), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_the_usual_probability_weighs_one():
    """Where every token is as probable as two draws are to agree, wpo changes nothing."""
    batch = random_batch(2)
    usual = replace(batch, tokens={**batch.tokens, "sum_p2": batch.tokens["logps"].detach().exp()})
    torch.testing.assert_close(loss("dpo", {"wpo": True}, usual), loss("dpo", {}, usual), rtol=1e-14, atol=0)


def weighing(batch: Batch, group_weights: list[float]) -> Batch:
    """The batch with a weight for each prompt's responses."""
    weight = torch.tensor(group_weights, dtype=torch.float64)[batch.group_of]
    return replace(batch, responses={**batch.responses, "weight": weight})


@pytest.mark.parametrize("name", [n for n in sorted(REGISTRY) if not plain(n).whole_step])
def test_a_weight_of_two_is_twice_and_of_none_is_not_there(name: str):
    batch = random_batch(3, sizes=(2, 2, 2))
    twice = batch.select(torch.tensor([0, 1, 4, 5, 4, 5]))
    twice = replace(twice, group_of=torch.tensor([0, 0, 1, 1, 2, 2]))
    settings = plain(name).settings
    torch.testing.assert_close(loss(name, settings, weighing(batch, [1.0, 0.0, 2.0])), loss(name, settings, twice))


def test_the_weight_of_a_pair_is_its_chosens_and_of_a_list_its_bests():
    batch = two_responses([-1.0, -2.0, -1.5, -0.5], [-1.0, -2.5, -1.0, -0.5], weight=[3.0, 7.0], rank=[2.0, 1.0])
    assert bind("dpo", {})(batch).terms["loss"].weights.tolist() == [3.0]
    assert bind("plackett_luce", {})(batch).terms["loss"].weights.tolist() == [7.0]
    assert bind("sft", {})(batch).terms["loss"].weights.tolist() == [3.0, 3.0, 7.0, 7.0]


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_objective_of_ours_takes_weights_but_those_that_compare_quantiles(name: str):
    assert (unweightable(plain(name)) is None) == (name != "aot_unpaired")


# ---- with every objective they fit


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_what_fits_can_be_bound_and_differs(name: str, setting: str):
    """Bound: differentiable, countable before any forward, and packs add up."""
    batch = random_batch(4)
    changed = loss(name, {setting: VALUES[setting]}, batch)
    assert changed.isfinite()
    assert changed.item() != loss(name, {}, batch).item()


def test_what_they_read_is_needed():
    assert needs(bind("dpo", {"wpo": True})) == {"logps", "ref_logps", "chosen", "sum_p2"}
    assert needs(bind("simpo", {"nll_weight": 0.1})) == {"logps", "chosen"}
    assert needs(bind("kto", {"humanline": (-1.0, 1.5)})) == {"logps", "ref_logps", "desirable"}


# ---- settings


def test_they_are_settings_of_what_they_fit():
    dpo = settings_model(get("dpo"))
    given = dpo(humanline=[-1, 1.5], nll_weight=0.2)
    assert (given.model_dump()["humanline"], given.model_dump()["wpo"]) == ((-1.0, 1.5), False)
    assert dpo.model_fields["wpo"].description
    offered = {name: {m.setting for m in REGISTRY[name].modifiers} for name in REGISTRY}
    assert offered["kto"] == {"humanline", "nll_weight"}
    assert offered["simpo"] == {"wpo", "nll_weight"}
    assert offered["slic"] == {"wpo"}, "its nll_weight is its own"
    assert offered["a_lol"] == {"humanline"}
    assert offered["reward"] == offered["sft"] == set()


@pytest.mark.parametrize("wrong", [{"humanline": [1.0]}, {"nll_weight": -1}, {"wpo": "much"}, {"nll": 1.0}])
def test_they_are_checked_like_any_setting(wrong: dict):
    with pytest.raises(ValidationError):
        settings_model(get("dpo"))(**wrong)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"humanline": (0.5, 1.5)}, "bounds must lie on both sides of 0"),
        ({"humanline": (1.5, -1.0)}, "bounds must lie on both sides of 0"),
        (
            {"humanline": (-1.0, 1.5), "reference_free": True},
            "no effect on dpo with these settings, which reads no ref",
        ),
    ],
)
def test_what_cannot_act_is_refused(settings: dict, why: str):
    with pytest.raises(UserError, match=why):
        bind("dpo", settings)


MINE = """
from heedful.objectives.reduce import Term
from heedful.objectives.views import Pairs, Lists

def wanting(pairs: Pairs, *, nll_weight: float, wpo: bool = False):
    return -nll_weight * pairs.margin.sigmoid()

def mine(pairs: Pairs, *, strength: float):
    return -strength * pairs.margin.sigmoid()

def over_responses(pairs: Pairs):
    return Term(-pairs.batch.token("logps").exp(), over="tokens"), {"m": pairs.margin}

def named(pairs: Pairs):
    return {"nll": -pairs.margin.sigmoid()}

def ranked(lists: Lists):
    return Term(-lists.singles.log_ratio * lists.batch.response("rank"), over="responses")
"""


def test_ones_own_objective_takes_them_too(tmp_path: Path):
    (tmp_path / "mine.py").write_text(MINE)
    name = f"{tmp_path / 'mine.py'}:mine"
    assert set(settings_model(get(name)).model_fields) == {"strength", *VALUES}
    batch = random_batch(5)
    assert loss(name, {"strength": 2.0, **VALUES}, batch) != loss(name, {"strength": 2.0}, batch)
    wanting = get(f"{tmp_path / 'mine.py'}:wanting")
    assert {m.setting for m in wanting.modifiers} == {"humanline"}, "what is its own stays its own"
    ranked = bind(f"{tmp_path / 'mine.py'}:ranked", {"nll_weight": 0.5})
    assert ranked.view is Lists
    assert set(ranked(batch).terms) == {"loss", "nll"}
    with pytest.raises(UserError, match="wpo weighs pairs, and its term 'loss' is over tokens"):
        bind(f"{tmp_path / 'mine.py'}:over_responses", {"wpo": True})
    with pytest.raises(UserError, match="has one of that name already"):
        bind(f"{tmp_path / 'mine.py'}:named", {"nll_weight": 0.5})
