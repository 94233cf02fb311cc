"""Runs with control tokens: what is trained, what is saved, what sampling from it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from heedful.config import TrainConfig
from heedful.models import load_tokenizer
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.training.shaping import control_tokens
from heedful.training.train import resolve_objective
from heedful.types import Message, UserError
from heedful.workflows.sampling import sample
from tests.end_to_end.runs import bits
from tests.training.small_runs import broken_run, rows, small_config, small_run


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def run(place) -> Path:
    return small_run(place, "csft", "csft", eval_fraction=0.25, eval_samples=2)


def test_good_and_bad_answers_share_a_prompt_and_differ_in_their_first_token(place, run):
    tokenizer = load_tokenizer(str(run / "final"))
    good, bad = (tokenizer.convert_tokens_to_ids(name) for name in ("<|good|>", "<|bad|>"))
    [store, *_] = [TokenStore.open(path.parent) for path in (place / "cache").glob("*/store.json")]
    assert store.num_responses == 2 * store.num_examples
    for r in range(store.num_responses):
        assert store.response_tokens(r)[0] == (good if store.columns["desirable"][r] else bad)
        assert store.response_trained(r).tolist() == [False] + [True] * (store.response_lengths[r] - 1)


def test_what_is_saved_samples_behind_the_good_token(run):
    tokenizer = load_tokenizer(str(run / "final"))
    prompt = [{"role": "user", "content": "Hi."}]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    assert tokenizer.convert_ids_to_tokens(ids)[-1] == "<|good|>"
    assert ids == Template.load(tokenizer).encode_prompt([Message("user", "Hi.")])
    assert load_file(run / "final" / "model.safetensors")["model.embed_tokens.weight"].shape[0] >= len(tokenizer)


def test_sampling_may_ask_for_the_other_token(place, run, tmp_path):
    asked: dict[str, Path] = {"as saved": tmp_path / "a", "good": tmp_path / "b", "bad": tmp_path / "c"}
    for name, control in zip(asked, (None, "<|good|>", "<|bad|>"), strict=True):
        out = asked[name]
        sample(str(run), str(place / "pairs.jsonl"), out, control=control, device="cpu", max_new_tokens=6)
    saved, good, bad = (path.read_text() for path in asked.values())
    assert saved == good != bad


def test_a_broken_run_ends_with_the_same_bits(place, run):
    whole = small_run(place, "csft", "whole")
    assert bits(whole) == bits(broken_run(place, "csft", "broken"))


def test_training_goes_on_from_a_conditioned_model(place, run):
    further = small_run(place, "dpo", "further", model=str(run))
    assert Template.load(load_tokenizer(str(further / "final"))).control == "<|good|>"


def test_control_tokens_that_cannot_be_told_apart(place):
    config = small_config(place, {"name": "csft", "good_token": "<x>", "bad_token": "<x>"}, "no")
    with pytest.raises(UserError, match="must differ"):
        control_tokens(resolve_objective(config))
    plain = TrainConfig.model_validate({**config.model_dump(), "objective": {"name": "dpo"}})
    assert control_tokens(resolve_objective(plain)) == ()


HELD = """
from heedful.objectives.control import control_tokens
from heedful.objectives.views import Singles

@control_tokens(good="best", bad="worst")
def held(singles: Singles, *, best: str = "<|best|>", worst: str = "<|worst|>"):
    return (singles.log_ratio - 1.0) ** 2, {"log_ratios": singles.log_ratio}
"""


def test_any_objective_may_name_tokens_and_its_reference_gets_the_same_rows(place, tmp_path):
    """A reference with the policy's weights gives the policy's log-probabilities, new tokens included."""
    import shutil

    (tmp_path / "held.py").write_text(HELD)
    shutil.copytree(place / "model", tmp_path / "twin")
    for name, reference in (("own", None), ("twin", str(tmp_path / "twin"))):
        run = small_run(place, f"{tmp_path}/held.py:held", f"held-{name}", reference=reference)
        first = rows(run)[0]
        assert first["train/log_ratios"] == pytest.approx(0.0, abs=1e-6)
        assert Template.load(load_tokenizer(str(run / "final"))).control == "<|best|>"
