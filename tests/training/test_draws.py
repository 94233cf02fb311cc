"""Runs whose responses are drawn by reward or advantage, and rewards that a run composes by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.tokens.store import TokenStore
from heedful.training.advantages import advantages, draw_weights, make_sampler
from heedful.training.data import PreparedData, prepare_data
from heedful.training.labels import without_idle
from heedful.training.shaping import load_template
from heedful.training.train import resolve_objective
from heedful.types import UserError
from tests.end_to_end.runs import bits
from tests.training.small_runs import broken_run, small_config, small_run, steps


def write_scored(path: Path, num: int = 12) -> Path:
    """Prompt i has a better answer of reward i and a worse of -i, and is worth 4: A = i - 4 and -i - 4."""
    with path.open("w") as file:
        for i in range(num):
            answers = [
                {"messages": [{"role": "assistant", "content": f"{word} {i}"}], "reward": sign * i, "value": 4.0}
                for word, sign in (("yes", 1.0), ("no", -1.0))
            ]
            row = {"prompt": [{"role": "user", "content": f"Is it {i}?"}], "responses": answers, "better": 0}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("draws")
    write_scored(place / "scored.jsonl")
    return place


def scored(place: Path, **settings: Any) -> dict[str, Any]:
    return {"data": str(place / "scored.jsonl"), **settings}


def prepared(place: Path, objective: Any, **settings: Any) -> tuple[PreparedData, Any, Any]:
    config = small_config(place, objective, "out", **settings)
    bound = resolve_objective(config)
    lines: list[str] = []
    data = prepare_data(config, bound, load_template(config, bound), place / "cache", lines.append)
    return data, config, bound


def drawn(place: Path, objective: str, sampling: str, **settings: Any) -> tuple[TokenStore, np.ndarray]:
    data, config, bound = prepared(place, objective, **scored(place, sampling=sampling, **settings))
    weights = draw_weights(config, bound, data.train)
    assert weights is not None
    return data.train, weights


def test_priorities_of_the_good_responses_by_hand(place):
    store, weights = drawn(place, "a_lol", "good_priority")
    # A = i - 4 of the better answers: 0 up to i = 4, then 1 … 7
    assert store.columns["reward"].tolist() == list(range(12))
    assert weights.tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert drawn(place, "a_lol", "good_random")[1].tolist() == [0] * 5 + [1] * 7
    assert drawn(place, "wbc", "good_priority")[1].tolist() == list(range(12))
    assert drawn(place, "wbc", "good_priority", sampling_by="advantage")[1].tolist() == weights.tolist()


def test_drawing_of_all_responses_takes_each_with_its_own_reward(place):
    store, weights = drawn(place, "a_lol", "all_priority", steps=40)
    assert store.num_examples == store.num_responses == 24
    assert weights.tolist() == np.maximum(store.columns["reward"] - 4.0, 0).tolist()
    said = [store.origin(e) for e in range(24)]
    rewards = {(said[e], float(store.columns["reward"][e])) for e in range(24)}
    assert len(rewards) == 23  # of the first prompt both answers have reward 0, of every other they differ
    _, config, bound = prepared(place, "a_lol", **scored(place, sampling="all_priority", steps=40))
    sampler = make_sampler(config, bound, store)
    rows = np.concatenate([sampler.batch(t) for t in range(40)])
    assert (store.columns["reward"][rows] > 4).all()


def test_an_epoch_leaves_the_lunch_out(place):
    data, config, bound = prepared(place, "a_lol", **scored(place, sampling="good_priority", steps=None, epochs=2.0))
    assert make_sampler(config, bound, data.train).num_steps == 4  # 2 · 7 responses, 4 a step
    assert data.extras["advantages"]["lunch"] == 5 / 12
    found = data.extras["advantages"]
    assert (found["percentiles"][3], found["reward"][3], found["advantage"][3]) == (50, 5.5, 1.5)


def test_percentiles_and_lunch_by_hand():
    found = advantages(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.full(5, 3.0))
    assert found["lunch"] == 0.6  # -2, -1 and 0
    assert found["advantage"] == [-2.0, pytest.approx(-1.6), -1.0, 0.0, 1.0, pytest.approx(1.6), 2.0]


@pytest.mark.parametrize("sampling", ["good_priority", "all_priority"])
def test_a_broken_run_draws_the_same(place, sampling):
    settings = scored(place, sampling=sampling)
    whole = small_run(place, "a_lol", f"whole-{sampling}", **settings)
    assert bits(whole) == bits(broken_run(place, "a_lol", f"broken-{sampling}", **settings))
    assert json.loads((whole / "data.json").read_text())["advantages"]["responses"] > 0


def test_rewards_are_composed_before_training(place):
    rewards = {"length": {"weight": -0.1}, "data": {"weight": 2.0}}
    data, *_ = prepared(place, "wbc", **scored(place, rewards=rewards))
    store, texts = data.train, [f"{word} {i}" for i in range(12) for word in ("yes", "no")]
    column = [sign * i for i in range(12) for sign in (1.0, -1.0)]
    assert store.columns["reward/length"].tolist() == [len(text) for text in texts]
    assert store.columns["reward/data"].tolist() == column
    expected = [2.0 * given - 0.1 * len(text) for given, text in zip(column, texts, strict=True)]
    assert store.columns["reward"] == pytest.approx(expected, rel=1e-6)
    assert data.to_json()["rewards"]["data"] == {
        "weight": 2.0,
        "normalize": False,
        "mean": 0.0,
        "min": -11.0,
        "max": 11.0,
        "deviation": pytest.approx(np.std(column)),
    }
    again, *_ = prepared(place, "wbc", **scored(place, rewards=rewards))
    assert again.train.digest == store.digest


def test_rewards_may_decide_which_response_is_better(place):
    data, *_ = prepared(place, "dpo", **scored(place, rewards="length", prefer="reward"))
    rewards, chosen = data.train.columns["reward"], data.train.columns["chosen"]
    assert (rewards[chosen == 1] > rewards[chosen == 0]).all()


def test_values_come_from_a_file(place, tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"Is it {i}?"}], "value": float(i % 3)} for i in range(12)]
    file = tmp_path / "values.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data, *_ = prepared(place, "a_lol", **scored(place, value=str(file)))
    assert data.train.columns["value"].reshape(12, 2)[:, 0].tolist() == [i % 3 for i in range(12)]
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(UserError, match=r"has no value for the prompt of .*scored.jsonl:2"):
        prepared(place, "a_lol", **scored(place, value=str(file)))
    file.write_text(json.dumps({**rows[0], "value": "much"}) + "\n")
    with pytest.raises(UserError, match=r"values.jsonl:1: value must be a number, not 'much'"):
        prepared(place, "a_lol", **scored(place, value=str(file)))
    with pytest.raises(UserError, match="no such file; it is reference or data, or a file"):
        prepared(place, "a_lol", **scored(place, value="refrence"))


@pytest.mark.parametrize(
    ("objective", "settings", "sentence"),
    [
        ("dpo", {"sampling": "good_priority"}, "draws responses one by one, and dpo compares"),
        ("kto", {"sampling": "good_random"}, "kto learns from both"),
        ("csft", {"sampling": "good_priority"}, "csft learns from both"),
        ("sft", {"sampling": "good_priority", "sampling_by": "advantage"}, "sampling=good_priority needs the reward"),
        ("wbc", {}, "wbc needs the reward of every response.*compose them with rewards=SCORER"),
        ("a_lol", {"rewards": "length"}, "a_lol needs the value.*value=reference"),
        ("dpo", {"rewards": "length"}, "rewards=length has no effect: dpo reads no reward"),
        ("wbc", {"value": "data"}, "value=data has no effect: wbc reads no value"),
        ("a_lol", {"value": "data"}, "value=data is estimated by heed train"),
    ],
)
def test_what_cannot_be_is_refused(place, objective, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        prepared(place, objective, **settings)


def test_settings_that_cannot_go_together(place):
    for settings, sentence in (
        ({"sampling_by": "reward"}, "sampling_by has no effect"),
        ({"sampling": "good_priority", "batch_unit": "tokens"}, "use batch_unit=responses"),
        ({"value_fit": {"samples": 2}}, "value_fit has an effect on value=reference"),
    ):
        with pytest.raises(ValueError, match=sentence):
            small_config(place, "wbc", "out", **settings)


def test_the_epoch_counts_what_can_be_drawn(place):
    run = small_run(place, "wbc", "metrics", **scored(place, sampling="good_random"))
    assert steps(run)[-1]["epoch"] == 4 * 4 / 11  # of 12 better answers one has reward 0


def test_settings_that_several_objectives_share_are_for_those_that_read_them(place):
    config = small_config(place, "dpo", "out", rewards="length", value="data", value_fit={"samples": 2})
    assert without_idle(config, resolve_objective(config)) == small_config(place, "dpo", "out")
    reader = small_config(place, "a_lol", "out", rewards="length", value="data", value_fit={"samples": 2})
    assert without_idle(reader, resolve_objective(reader)) == reader


def test_a_value_in_the_data_is_a_number(place, tmp_path):
    row = json.loads((place / "scored.jsonl").read_text().splitlines()[0])
    row["responses"][0]["value"] = "much"
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"data\.jsonl:1: value='much' must be a number"):
        prepared(place, "a_lol", data=str(tmp_path / "data.jsonl"))
