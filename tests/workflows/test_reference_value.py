from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.config.within import DEFAULT_FIT
from heedful.models.prompt_value import PromptValueHead, hidden_states, padded
from heedful.training import train
from heedful.training.labels import read_values
from heedful.types import UserError
from heedful.workflows.reference_value import find_values, value
from heedful.workflows.reference_value_fit import cross_fit, judged
from tests.end_to_end.runs import bits
from tests.training.small_runs import small_config

NUM = 40
SCORER = """
def even(prompts, responses):
    'Likes even numbers, and a little the letter e.'
    return [(int(p.split()[-1]) % 2 == 0) + 0.01 * r.count('e') for p, r in zip(prompts, responses)]
"""
FIT = {"prompts": 40, "samples": 2, "max_new_tokens": 4, "lr": 1e-2, "folds": 4, "epochs": 30}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("value")
    (place / "mine.py").write_text(SCORER)
    with (place / "scored.jsonl").open("w") as file:
        for i in range(NUM):
            answers = [
                {"messages": [{"role": "assistant", "content": text}], "reward": float(i % 2) + bonus}
                for text, bonus in (("yes", 0.5), ("no", -0.5))
            ]
            row = {"prompt": [{"role": "user", "content": f"Is it {i}"}], "responses": answers, "better": 0}
            file.write(json.dumps(row) + "\n")
    return place


def config(place: Path, out: str = "run", **settings: Any):
    chosen = {"data": str(place / "scored.jsonl"), "value": "reference", "value_fit": FIT, **settings}
    return small_config(place, "a_lol", out, **chosen)


def rewards(place: Path) -> str:
    return f"{place}/mine.py:even"


@pytest.fixture(scope="module")
def valued(place):
    lines: list[str] = []
    out = value(config(place, rewards=rewards(place)), place / "values.jsonl", lines.append)
    return out, lines


# --- the head ---------------------------------------------------------------------------------------------------------


def test_a_head_begins_with_the_mean_and_stays_between_its_bounds():
    head = PromptValueHead(12, -1.0, 3.0, 0.5).eval()  # 12 is divided by 6 heads, not by 8
    assert head.attention.num_heads == 6
    states, mask = padded([torch.randn(5, 12), torch.randn(3, 12)])
    assert head(states, mask).tolist() == pytest.approx([0.5, 0.5])
    with torch.no_grad():
        head.out.weight.normal_(std=50)
    found = head(states, mask)
    assert ((found >= -1) & (found <= 3)).all()


def test_a_value_does_not_depend_on_padding():
    torch.manual_seed(0)
    head = PromptValueHead(8, 0.0, 1.0, 0.3).eval()
    with torch.no_grad():
        head.out.weight.normal_()
    short, long = torch.randn(2, 8), torch.randn(9, 8)
    with torch.no_grad():
        alone, beside = head(*padded([short])), head(*padded([short, long]))
    assert beside[0].item() == pytest.approx(alone[0].item(), abs=1e-6)


def test_pooling_by_hand():
    """One head, identity projections: u is the softmax(q·x/√D)-weighted mean of the states."""
    head = PromptValueHead(8, 0.0, 2.0, 1.0).eval()
    x = torch.randn(4, 8)
    head.attention.num_heads, head.attention.head_dim = 1, 8
    with torch.no_grad():
        head.attention.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        head.attention.out_proj.weight.copy_(torch.eye(8))
        head.out.weight.fill_(0.25)
        weights = torch.softmax(x @ head.query / 8**0.5, 0)
        expected = 2.0 * torch.sigmoid(0.25 * (weights @ x).sum())
        assert head(*padded([x])).item() == pytest.approx(expected.item(), abs=1e-6)


def test_hidden_states_are_those_of_the_plain_model(place):
    from transformers import AutoModelForCausalLM

    from heedful.models import load_policy

    config(place)  # makes the model
    loaded = load_policy(str(place / "model"))
    texts = [[5, 6, 7], [9, 8], [5, 6, 7, 9], [4, 4]]
    plain = AutoModelForCausalLM.from_pretrained(place / "model").eval()
    for i, states in hidden_states(loaded.model, texts):
        with torch.no_grad():
            expected = plain(torch.tensor([texts[i]]), output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose(states, expected, atol=1e-5)


# --- cross-fitting ----------------------------------------------------------------------------------------------------


def states_of(targets: np.ndarray) -> list[torch.Tensor]:
    """Texts whose first coordinate says what they are worth."""
    generator = torch.Generator().manual_seed(3)
    found = [torch.randn(3 + i % 4, 8, generator=generator) for i in range(len(targets))]
    for text, target in zip(found, targets, strict=True):
        text[:, 0] = float(target) * 4 - 2
    return found


def test_heads_learn_what_states_tell_and_nothing_from_noise():
    targets = np.random.default_rng(0).uniform(size=60)
    settings = DEFAULT_FIT.model_copy(update={"lr": 1e-2})
    fitted = cross_fit(states_of(targets), targets, np.arange(60), settings, 0)
    found = judged(fitted.held_out, targets)
    assert found["r2"] > 0.7
    assert found["correlation"] > 0.85
    assert sum(count for *_, count in found["calibration"]) == 60
    noise = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(60)]
    assert judged(cross_fit(noise, targets, np.arange(60), settings, 0).held_out, targets)["r2"] < 0.2


def test_no_text_is_judged_by_a_head_that_has_seen_its_prompt():
    """A target that only the prompt's number tells is not foretold, though each prompt stands there four times."""
    rng = np.random.default_rng(1)
    worth, prompt_of = rng.uniform(size=20), np.repeat(np.arange(20), 4)
    marks = [torch.randn(32, generator=torch.Generator().manual_seed(int(p))) for p in prompt_of]
    states = [mark.expand(2, 32).clone() for mark in marks]
    settings = DEFAULT_FIT.model_copy(update={"lr": 1e-2})
    together = cross_fit(states, worth[prompt_of], prompt_of, settings, 0)
    mixed_up = cross_fit(states, worth[prompt_of], np.arange(80), settings, 0)
    assert judged(together.held_out, worth[prompt_of])["r2"] < 0.1
    # Texts that are not parted by their prompts look foretold, since the heads remember.
    assert judged(mixed_up.held_out, worth[prompt_of])["r2"] > 0.8


def test_judgement_by_hand():
    found = judged(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0, 4.0]))
    # Σ(y-v)² = 1 + 1 = 2, Σ(y-2)² = 4 + 4 = 8;  covariance 1.5, variances 1.25 and 2
    assert found["r2"] == 0.75
    assert found["correlation"] == pytest.approx(1.5 / np.sqrt(1.25 * 2.0))
    assert judged(np.ones(3), np.ones(3))["r2"] is None


# --- the workflow -----------------------------------------------------------------------------------------------------


def test_values_tell_what_the_reference_gets(place, valued):
    out, lines = valued
    values = read_values(out).of
    assert len(values) == NUM
    report = json.loads((place / "values.report.json").read_text())
    assert report["value"]["value of the reference"]["texts"] == NUM
    assert report["value"]["samples"] == 2
    assert report["advantages"]["responses"] == 2 * NUM
    text = "\n".join(lines)
    assert "correlation" in text
    assert "calibration by tenths" in text
    assert "leftover lunch: " in text
    assert "percentile" in text


def test_a_second_time_nothing_is_sampled(place, valued, monkeypatch):
    monkeypatch.setattr("heedful.workflows.reference_value_targets.sample", None)
    lines: list[str] = []
    again = value(config(place, rewards=rewards(place)), place / "again.jsonl", lines.append)
    assert again.read_text() == valued[0].read_text()
    assert "values: taken from the cache" in lines


def test_a_killed_estimate_goes_on(place, valued, monkeypatch):
    """Break off while prompts are answered: the answers that were there are kept, and the values are the same."""
    import heedful.workflows.reference_value_targets as targets

    whole = targets.sample
    calls: list[int] = []

    def breaking(model, template, prompts, **settings):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(model, template, prompts, **settings)

    monkeypatch.setattr(targets, "sample", breaking)
    monkeypatch.setattr(targets, "PROMPTS_AT_ONCE", 16)
    settings = config(place, rewards=rewards(place), cache_dir=str(place / "other-cache"))
    with pytest.raises(KeyboardInterrupt):
        value(settings, place / "killed.jsonl", lambda line: None)
    out = value(settings, place / "killed.jsonl", lambda line: None)
    assert calls == [16, 16, 8, 8]
    assert out.read_text() == valued[0].read_text()


def test_a_run_finds_its_values_by_itself(place, valued):
    first = config(place, "by-itself", rewards=rewards(place), sampling="good_priority")
    run = train(first, echo=lambda line: None, find_values=find_values)
    second = config(
        place, "by-file", rewards=rewards(place), sampling="good_priority", value=str(valued[0]), value_fit={}
    )
    other = train(second, echo=lambda line: None)
    assert bits(run) == bits(other)
    content = json.loads((run / "data.json").read_text())
    assert content["value"]["value of the reference"]["r2"] is not None
    assert 0 < content["advantages"]["lunch"] < 1


def test_a_column_is_learnt_before_answers_are_judged_by_it(place):
    lines: list[str] = []
    value(config(place), place / "column.jsonl", lines.append)
    report = json.loads((place / "column.report.json").read_text())["value"]
    assert report["reward model fitted on the data"]["texts"] == 2 * NUM
    assert any(line.startswith("reward model fitted on the data, on 80 texts") for line in lines)


def test_values_of_the_logged_answers(place):
    value(config(place, value="data"), place / "data.jsonl", lambda line: None)
    report = json.loads((place / "data.report.json").read_text())["value"]
    assert report["value of the logged answers"]["texts"] == NUM
    assert "samples" not in report


def test_evaluation_prompts_are_what_the_head_learns_from(place):
    settings = config(place, rewards=rewards(place), eval_fraction=0.4)
    value(settings, place / "held-out.jsonl", lambda line: None)
    report = json.loads((place / "held-out.report.json").read_text())["value"]
    assert report["prompts"] == 16
    assert len(read_values(place / "held-out.jsonl").of) == NUM


def test_a_dry_run_samples_nothing(place, monkeypatch):
    from functools import partial

    monkeypatch.setattr("heedful.workflows.reference_value_targets.sample", None)
    lines: list[str] = []
    settings = config(place, "dry", rewards=rewards(place), seed=5)
    train(settings, dry_run=True, echo=lines.append, find_values=partial(find_values, dry_run=True))
    assert any("sample 2 answers of" in line and "to each of 40 prompts" in line for line in lines)
    assert not any("leftover lunch" in line for line in lines)  # nobody knows it yet


def test_too_few_prompts(place):
    settings = config(place, rewards=rewards(place), value_fit={**FIT, "prompts": 8, "folds": 5})
    with pytest.raises(UserError, match="cannot be learnt from 8 prompts in 5 parts"):
        value(settings, place / "few.jsonl", lambda line: None)
