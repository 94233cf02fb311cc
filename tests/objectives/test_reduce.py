"""What an objective may return, what it is found to need, and how mistakes in one's own are told."""

from dataclasses import replace

import pytest
import torch

from heedful.objectives import bind, get
from heedful.objectives.reduce import Objective, Term, as_outcome, loss_of, view_of
from heedful.objectives.toy import toy_batch
from heedful.objectives.trial import needs
from heedful.objectives.views import MissingColumn, Pairs, Singles, Tokens
from heedful.types import UserError


def test_needs_are_the_columns_read():
    assert needs(bind("sft", {})) == {"logps"}
    assert needs(bind("dpo", {})) == {"logps", "ref_logps", "chosen"}
    assert needs(bind("kto", {})) == {"logps", "ref_logps", "desirable"}
    assert needs(bind("reward", {})) == {"scores", "chosen"}
    assert needs(bind("reward", {"margin": True})) == {"scores", "chosen", "margin"}


def test_each_term_is_divided_by_its_own_weight():
    # (1·2 + 3·1)/(2 + 1) = 5/3, and (4 + 6)/2 = 5
    outcome = as_outcome(
        {
            "a": Term(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])),
            "b": torch.tensor([4.0, 6.0]),
        },
        "responses",
    )
    loss = loss_of(outcome, outcome.weight_sums)
    assert loss.item() == pytest.approx(5 / 3 + 5)
    assert outcome.terms["a"].over == "responses"


def test_a_term_that_counts_nothing_adds_nothing():
    outcome = as_outcome({"a": torch.zeros(0), "b": torch.tensor([2.0])}, "tokens")
    assert loss_of(outcome, outcome.weight_sums).item() == 2.0


@pytest.mark.parametrize("result", [torch.tensor(1.0), torch.zeros(2, 2), {"loss": 3.0}])
def test_reduced_or_shaped_values_are_refused(result):
    with pytest.raises(ValueError, match="one-dimensional tensor of unreduced values"):
        as_outcome(result, "tokens")


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 values but 3 weights"):
        as_outcome(Term(torch.zeros(2), torch.zeros(3)), "tokens")


def test_a_view_is_needed():
    def no_view(x, *, beta: float = 1.0):
        return x

    with pytest.raises(ValueError, match="annotate its first parameter with one of Tokens, Singles, Pairs, Lists"):
        view_of(no_view)


def test_an_objective_without_a_gradient_is_refused():
    def constant(tokens: Tokens):
        return tokens.logps.detach()

    with pytest.raises(ValueError, match="without a gradient"):
        needs(Objective("constant", constant, {}))


def test_a_missing_column_says_its_name():
    batch = toy_batch(absent=frozenset({"ref_logps"}))
    with pytest.raises(MissingColumn, match="ref_logps"):
        _ = Singles(batch).log_ratio


def test_a_selected_batch_reads_on_behalf_of_the_whole():
    batch = toy_batch()
    _ = Pairs(batch).chosen.reward
    assert batch.read == {"chosen", "reward"}


def test_the_advantage_is_what_the_reward_is_above_the_value():
    singles = Singles(toy_batch())
    # rewards 1, -1, 0.5, 0 above values 0.2, 0.2, -0.1, -0.1
    assert singles.advantage.tolist() == pytest.approx([0.8, -1.2, 0.6, 0.1])
    assert singles.batch.read == {"reward", "value"}


def test_no_weight_is_a_weight_of_one():
    weight = torch.tensor([2.0, float("nan"), 0.0, 1.0])
    batch = toy_batch()
    batch = replace(batch, responses={**batch.responses, "weight": weight})
    assert Singles(batch).weight.tolist() == [2.0, 1.0, 0.0, 1.0]


def test_collisions_carry_no_gradient_and_divergences_do():
    batch = toy_batch()
    batch.tokens["sum_p2"].requires_grad_()
    assert not Tokens(batch).sum_p2.requires_grad
    assert Tokens(batch).kl.requires_grad


def test_select_takes_the_right_tokens():
    batch = toy_batch()
    picked = batch.select(torch.tensor([2, 0]))
    # responses have 3, 2, 4, 3 tokens: response 2 is tokens 5…8, response 0 is tokens 0…2
    assert torch.equal(picked.tokens["logps"], batch.tokens["logps"][[5, 6, 7, 8, 0, 1, 2]])
    assert picked.lengths.tolist() == [4, 3]


def test_an_unknown_name_suggests_the_right_one():
    with pytest.raises(UserError, match="did you mean dpo"):
        get("dop")


def test_a_recipe_where_an_objective_is_meant_is_told_apart():
    with pytest.raises(UserError, match="a recipe comes after an objective, as in heed train OBJECTIVE lol/hh/a_lol"):
        get("lol/hh/a_lol")


def test_an_objective_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from heedful.objectives.views import Pairs\n\n"
        "def hinge(pairs: Pairs, *, width: float = 1.0):\n"
        "    return (width - pairs.margin).clamp(min=0)\n\n"
        "def wrong(x):\n    return x\n"
    )
    mine = bind(f"{file}:hinge", {"width": 5.0})
    assert mine.view is Pairs
    assert needs(mine) == {"logps", "ref_logps", "chosen"}
    with pytest.raises(UserError, match="annotate its first parameter"):
        get(f"{file}:wrong")
    with pytest.raises(UserError, match=r"has no function 'hing'; did you mean hinge\? it has hinge, wrong"):
        get(f"{file}:hing")
    with pytest.raises(UserError, match="there is no file"):
        get(f"{tmp_path}/nothing.py:f")
    with pytest.raises(UserError, match="name the function too"):
        get(str(file))


def test_an_objective_that_fails_on_the_toy_is_told_before_any_run(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "from heedful.objectives.views import Singles\n\n"
        "def reads_nothing_there(singles: Singles):\n    return singles.batch.response('karma')\n"
    )
    with pytest.raises(UserError, match="karma"):
        bind(f"{file}:reads_nothing_there", {})
