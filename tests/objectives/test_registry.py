"""Objectives of a user's own that would train on other numbers than they say are refused when they are bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.config import load_train
from heedful.objectives import REGISTRY, bind, get, plain
from heedful.objectives.trial import trainees_of
from heedful.types import UserError
from heedful.workflows.catalogue import describe

COUPLED = {
    "a mean over the batch": ("Pairs", "-F.logsigmoid(view.margin).mean().reshape(1)", "sum of each one's"),
    "a mean taken off": ("Singles", "(view.log_ratio - view.log_ratio.mean()) ** 2", "sum of each one's"),
    "weights from the model": (
        "Pairs",
        "Term(-F.logsigmoid(view.margin), view.chosen.mean_logps.detach().exp())",
        "known before",
    ),
    "tokens chosen by the model": ("Tokens", "-view.logps[view.logps.detach() < -1]", "known before"),
}


def written(path: Path, view: str, values: str, before: str = "") -> str:
    """The name of an objective in a file of its own."""
    path.write_text(
        "import torch.nn.functional as F\n"
        f"from heedful.objectives.reduce import Term, whole_step\nfrom heedful.objectives.views import {view}\n\n\n"
        f"{before}\ndef mine(view: {view}):\n    return {values}\n"
    )
    return f"{path}:mine"


@pytest.mark.parametrize(("view", "values", "why"), COUPLED.values(), ids=COUPLED)
def test_an_objective_that_couples_examples_is_refused_unless_it_says_so(
    view: str, values: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=why) as refusal:
        bind(written(tmp_path / "mine.py", view, values), {})
    assert "@whole_step" in str(refusal.value)
    bind(written(tmp_path / "whole.py", view, values, "@whole_step"), {})


def test_scores_and_probabilities_are_of_two_models(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads scores and logps, but a model that scores gives nothing else"):
        bind(written(tmp_path / "mine.py", "Singles", "-view.scores * view.seq_logps"), {})


@pytest.mark.parametrize(
    ("view", "gives", "why"),
    [
        ("Singles", '-view.seq_logps, {"gain": 3.0}', "its metric 'gain' must be a tensor, not float"),
        ("Singles", "-view.seq_logps, {}, {'steps': 3}", "its state 'steps' must be a tensor, not int"),
        ("Singles", "-view.seq_logps, 3.0", "its metrics must be a mapping of names to tensors, not float"),
    ],
)
def test_metrics_and_state_that_no_run_could_keep_are_refused(view: str, gives: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        bind(written(tmp_path / "mine.py", view, gives), {})


@pytest.mark.parametrize(
    "change", ["view.reward.mul_(2)", "view.batch.responses.update(reward=-view.reward)", "view.lengths.add_(1)"]
)
def test_an_objective_that_changes_its_data_is_refused(change: str, tmp_path: Path) -> None:
    """What it changes would be changed again at the next look, and for whatever acts after it."""
    with pytest.raises(UserError, match="changes the batch"):
        bind(written(tmp_path / "mine.py", "Singles", f"[-view.seq_logps * view.reward, {change}][0]"), {})


def test_weights_that_depend_on_the_data_alone_are_fine(tmp_path: Path) -> None:
    bind(written(tmp_path / "mine.py", "Singles", "Term(-view.seq_logps, view.reward.abs())"), {})


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_objective_of_ours_fits_packs(name: str) -> None:
    bind(name, plain(name).settings)


def test_a_setting_that_is_required_is_asked_for() -> None:
    """Unlikelihood is thresholded or the soft mixture, and says which: neither is a default."""
    with pytest.raises(UserError, match=r"objective\.threshold is missing: write objective\.threshold=VALUE"):
        load_train([], ["model=m", "data=d"], find=get, objective="unlikelihood")
    for word, value in (("null", None), ("0", 0.0), ("0.5", 0.5)):
        config = load_train([], ["model=m", "data=d", f"threshold={word}"], find=get, objective="unlikelihood")
        assert config.objective.settings["threshold"] == value
    assert plain("unlikelihood").settings == {"threshold": 0.5}
    assert [name for name in REGISTRY if plain(name).settings] == ["unlikelihood"]
    assert "objective.threshold (required): a is 1 up to this score" in describe("unlikelihood")


CRITIC = """
def mine(singles: Singles, *, critic: float = 1.0):
    advantage = singles.reward - singles.sum(singles.values{policy})
    terms = {{
        "loss": Term(-advantage * singles.seq_logps),
        "critic": Term((singles.values - {target}) ** 2, over="tokens", trainee="{trainee}"),
    }}
    return terms
"""


def critic(path: Path, policy: str = ".detach()", target: str = "1.0", trainee: str = "value_head") -> str:
    """The name of an objective with a term for the policy and one for the value head."""
    head = "from heedful.objectives.reduce import Term\nfrom heedful.objectives.views import Singles\n"
    path.write_text(head + CRITIC.format(policy=policy, target=target, trainee=trainee))
    return f"{path}:mine"


def test_a_term_may_train_the_value_head(tmp_path: Path) -> None:
    assert trainees_of(bind(critic(tmp_path / "mine.py"), {})) == {"policy", "value_head"}
    assert trainees_of(bind("dpo", {})) == {"policy"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"trainee": "reward_critic"}, "'critic' trains 'reward_critic', but a run trains policy or value_head"),
        ({"policy": ""}, "'loss' trains the policy, but its gradient reaches 'values', which is the value_head's"),
        ({"target": "singles.logps"}, "'critic' trains the value_head, but its gradient reaches 'logps'"),
        ({"trainee": "policy"}, "'critic' trains the policy, but its gradient reaches 'values'"),
    ],
    ids=["unknown", "value head moved by the policy's term", "policy moved by the critic's", "critic unnamed"],
)
def test_what_trains_another_than_it_says_is_refused(change: dict[str, str], why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        bind(critic(tmp_path / "mine.py", **change), {})


def test_values_that_nothing_trains_are_refused(tmp_path: Path) -> None:
    values = "-(view.reward - view.sum(view.values.detach())) * view.seq_logps"
    with pytest.raises(UserError, match="reads values, but no term trains the value head"):
        bind(written(tmp_path / "mine.py", "Singles", values), {})
