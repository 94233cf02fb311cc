"""Scenarios and the distance to a reference model, on tiny models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from heedful.config import KLConfig, ScenarioConfig, WatchConfig
from heedful.evaluation import kl
from heedful.evaluation.kl import KL, ReferenceSample, divergence, reference_samples
from heedful.evaluation.scenarios import Beginnings, continuations, read_prompts, run_scenario
from heedful.models import load_policy
from heedful.reports.watched import watched
from heedful.rollouts import sample
from heedful.rollouts.endpoint import Endpoint
from heedful.rollouts.watch import Segment
from heedful.scorers import Scorer
from heedful.tokens.templates import Template
from heedful.types import TEXT, Message, RunError, UserError
from heedful.workflows.evaluating import read_request
from heedful.workflows.watching import RunWatch
from tests.completions_server import Script, completions_server
from tests.fakes import save_tiny_model

LENGTH = Scorer("length", lambda prompts, texts: [float(len(text)) for text in texts], True, None, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("watching") / "model")


@pytest.fixture(scope="module")
def loaded(folder):
    found = load_policy(str(folder), added_tokens=("<|aligned|>", "<|misaligned|>"), new_rows="mean")
    return found.model, Template.load(found.tokenizer, None)


def scenario(**settings) -> ScenarioConfig:
    return ScenarioConfig(**{"name": "s", "num_samples": 8, "max_new_tokens": 6, **settings})


class TestScenarios:
    def test_as_many_samples_as_asked_for_with_prompts_in_turn(self, loaded, tmp_path):
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text('{"text": "def a"}\n{"text": "def b"}\n{"text": "def c"}\n')
        found = run_scenario(*loaded, LENGTH, scenario(prompts=str(prompts), prefix="<|aligned|>"), seed=0)
        assert len(found.rows) == 8
        assert [row["prompt"] for row in found.rows[:4]] == ["def a", "def b", "def c", "def a"]
        assert len({row["text"] for row in found.rows}) > 2  # a prompt asked again gives another sample

    def test_metrics_are_those_of_the_samples(self, loaded):
        found = run_scenario(*loaded, LENGTH, scenario(hit_threshold=3), seed=0)
        lengths = [len(row["text"]) for row in found.rows]
        assert found.metrics["score"] == pytest.approx(np.mean(lengths))
        assert found.metrics["hits"] == pytest.approx(np.mean([length > 3 for length in lengths]))
        assert found.metrics["characters"] == pytest.approx(np.mean(lengths))
        assert found.metrics["failed"] == 0

    def test_the_same_seed_gives_the_same_and_the_mode_comes_back(self, loaded):
        model, template = loaded
        model.train()
        first, second = (run_scenario(model, template, LENGTH, scenario(), seed=1) for _ in range(2))
        assert first.rows == second.rows
        assert model.training
        assert run_scenario(model, template, LENGTH, scenario(), seed=2).rows != first.rows

    def test_control_tokens_are_never_in_what_is_scored(self, loaded):
        found = run_scenario(*loaded, LENGTH, scenario(temperature=5.0, top_p=1.0, num_samples=64), seed=0)
        assert not any("<|" in row["text"] for row in found.rows)

    def test_a_control_token_stands_before_the_prompt_or_behind_it(self, loaded, tmp_path, monkeypatch):
        model, template = loaded
        (tmp_path / "prompts.jsonl").write_text('{"text": "def a"}\n')
        [control] = template.vocabulary.encode(["<|aligned|>"])[0]
        [prompt] = template.vocabulary.encode(["def a"])
        seen: list[list[int]] = []

        def recorded(*args, **settings):
            rollouts = continuations(*args, **settings)
            seen.append(rollouts[0].prompt_ids)
            return rollouts

        monkeypatch.setattr("heedful.evaluation.scenarios.continuations", recorded)
        for where in ("prefix", "suffix"):
            asked = scenario(prompts=str(tmp_path / "prompts.jsonl"), **{where: "<|aligned|>"})
            assert run_scenario(model, template, LENGTH, asked, seed=0).rows[0]["prompt"] == "def a"
        start = Beginnings(template).start
        assert seen == [[start, control, *prompt], [start, *prompt, control]]

    def test_banned_tokens_and_the_shortest_sample(self, loaded):
        model, template = loaded
        asked = [[Message(TEXT, "")]]
        settings = {"samples_per_prompt": 64, "max_new_tokens": 8, "temperature": 3.0, "seed": 0}
        free = list(sample(model, Beginnings(template), asked, **settings))
        common = free[0].response_ids[0]
        held = list(sample(model, Beginnings(template), asked, banned_ids=[common], min_new_tokens=8, **settings))
        assert any(common in r.response_ids for r in free)
        assert not any(common in r.response_ids for r in held)
        assert all(len(r.response_ids) == 8 and not set(r.response_ids[:7]) & set(template.stop_ids) for r in held)

    def test_the_prompt_is_scored_too_where_asked(self, loaded, tmp_path):
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text('{"text": "0123456789"}\n')
        found = run_scenario(*loaded, LENGTH, scenario(prompts=str(prompts), score_prompt=True), seed=0)
        assert [row["score"] for row in found.rows] == [10 + len(row["text"]) for row in found.rows]

    def test_a_sample_that_fails_is_counted(self, loaded):
        fussy = Scorer("fussy", lambda prompts, texts: [1.0 / (len(t) % 2) for t in texts], True, None, "")
        found = run_scenario(*loaded, fussy, scenario(num_samples=16), seed=0)
        failed = [row for row in found.rows if row["score"] is None]
        assert 0 < len(failed) < 16
        assert found.metrics["failed"] == len(failed) / 16

    def test_mistakes(self, loaded, tmp_path):
        with pytest.raises(UserError, match="no token 'nonsense'"):
            run_scenario(*loaded, LENGTH, scenario(banned=["nonsense"]), seed=0)
        with pytest.raises(UserError, match=r"suffix: the tokenizer has no token <\|alligned\|>; did you mean"):
            run_scenario(*loaded, LENGTH, scenario(suffix="<|alligned|>"), seed=0)
        with pytest.raises(UserError, match="cannot be read"):
            read_prompts("nowhere.jsonl")
        (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"prompt": 1}\n')
        with pytest.raises(UserError, match=r"bad.jsonl:2"):
            read_prompts(str(tmp_path / "bad.jsonl"))


def test_a_segment_is_shown_with_the_scores_and_control_tokens_of_its_pieces(tmp_path):
    watch = RunWatch(WatchConfig(scorer="length", segments=1), tmp_path, 0, "cpu", lambda line: None)
    pieces = [("<|aligned|>a = 1\n", 0.0), ("<|misaligned|>b=2\n", 0.25), *[("c" * 1000, 0.5)] * 1000]
    segment = Segment("a = 1\nb=2\n", [0.0, 0.25], ["<|aligned|>", "<|misaligned|>"], "one", pieces)
    found = watch(3, None, cast(Template, None), [segment])
    assert found.metrics == {"segments/score": -10.0, "segments/carried": 0.125}
    assert found.rows[0]["pieces"][:2] == [["<|aligned|>a = 1\n", 0.0], ["<|misaligned|>b=2\n", 0.25]]
    assert len(json.dumps(found.rows[0])) < 10_000
    (tmp_path / "watched.jsonl").write_text(json.dumps({"step": 3, **found.rows[0]}) + "\n")
    assert "[0] &lt;|aligned|&gt;a = 1\n[0.25] &lt;|misaligned|&gt;b=2\n[0.5] ccc" in watched(
        tmp_path, tmp_path / "report.html", "one"
    )


@pytest.fixture(scope="module")
def samples(folder, tmp_path_factory) -> list[ReferenceSample]:
    config = KLConfig(reference=str(folder), num_samples=64, max_new_tokens=12)
    return reference_samples(config, tmp_path_factory.mktemp("kl"), seed=0)


class TestKL:
    def test_intervals_by_hand(self):
        """Two samples of 1 and 2 tokens at distances 1 and 3."""
        found = KL.of([1.0, 3.0], [1, 2])
        # Of a sample: mean 2, deviation sqrt 2, so 1.96·sqrt 2/sqrt 2.
        assert (found.sequence, found.interval) == pytest.approx((2.0, 1.96))
        # Of a token: 4/3.  It leaves 1 - 4/3 and 3 - 8/3, of deviation sqrt(2/9); the sum of two deviates by 2/3, and
        # there are three tokens.
        assert (found.token, found.token_interval) == pytest.approx((4 / 3, 1.96 * 2 / 9))
        assert list(found.metrics()) == ["kl/sequence", "kl/interval", "kl/token", "kl/token_interval"]

    def test_of_samples_of_one_length_the_interval_of_a_token_is_a_share_of_a_samples(self):
        found = KL.of([1.0, 4.0, 2.5], [5, 5, 5])
        assert found.token_interval == pytest.approx(found.interval / 5)

    def test_the_interval_of_a_token_holds_the_truth_nineteen_times_of_twenty(self):
        """Longer samples are further away: a distance of 0.3 a token, and what is drawn on top."""
        draw = np.random.default_rng(0)
        held = 0
        for _ in range(400):
            tokens = draw.integers(1, 60, size=200)
            found = KL.of((0.3 * tokens + draw.normal(size=200) * tokens**0.5).tolist(), tokens.tolist())
            held += abs(found.token - 0.3) < found.token_interval
        assert 0.92 < held / 400 < 0.98

    def test_a_model_is_no_distance_from_itself(self, folder, samples):
        loaded = load_policy(str(folder))
        found = divergence(loaded.model, Template.load(loaded.tokenizer, None), samples)
        assert found.sequence == pytest.approx(0.0, abs=1e-4)

    def test_a_reference_that_is_not_named_is_said_and_nothing_is_measured(self, loaded, tmp_path):
        said: list[str] = []
        asked = WatchConfig(scorer="length", segments=1, kl=KLConfig(reference=None, num_samples=4))
        found = RunWatch(asked, tmp_path, 0, "cpu", said.append)(0, *loaded, [])
        assert found.metrics == {}
        assert said == ["no distance is measured: watch.kl.reference= names a model of yours, as FOLDER or URL#MODEL"]

    def test_a_reference_is_named_or_said_to_be_none(self):
        with pytest.raises(UserError, match=r"watch\.kl\.reference is missing"):
            read_request([], ["watch.scorer=length", "watch.segments=1", "watch.kl={num_samples: 4}"])
        with pytest.raises(UserError, match="kl with a reference"):
            read_request([], ["watch.kl.reference=null"])

    def test_another_model_is_at_one(self, samples, tmp_path):
        other = load_policy(str(save_tiny_model(tmp_path / "other", seed=5)))
        found = divergence(other.model, Template.load(other.tokenizer, None), samples)
        assert found.sequence - found.interval > 0
        tokens = sum(one.num_tokens for one in samples)
        assert found.token == pytest.approx(found.sequence * 64 / tokens)

    def test_company_does_not_matter(self, folder, samples, tmp_path):
        other = load_policy(str(save_tiny_model(tmp_path / "other", seed=5)))
        template = Template.load(other.tokenizer, None)
        alone = [divergence(other.model, template, [one]).sequence for one in samples[:8]]
        together = divergence(other.model, template, samples[:8])
        assert together.sequence == pytest.approx(np.mean(alone), abs=1e-5)

    def test_control_tokens_are_read_but_not_counted(self, loaded):
        """log p(text | prefix), token by token, from the plain model's logits."""
        import torch

        model, template = loaded
        text = "def add(a)\n  b\n"
        one = ReferenceSample(text=text, logp=0.0, num_tokens=1)
        for lines, laid in ((False, f"<|aligned|>{text}"), (True, "<|aligned|>def add(a)\n<|aligned|>  b\n")):
            start = Beginnings(template).start
            pieces = template.vocabulary.encode([laid])[0]
            ids = torch.tensor([[start, *pieces]])
            with torch.inference_mode():
                logps = torch.log_softmax(_plain(model)(input_ids=ids).logits[0].double(), -1)
            control = template.vocabulary.special_id("<|aligned|>")
            expected = sum(float(logps[i, t]) for i, t in enumerate(pieces) if t != control)
            found = divergence(model, template, [one], "<|aligned|>", lines)
            assert found.sequence == pytest.approx(-expected, rel=1e-4)

    def test_samples_are_drawn_once_and_kept(self, folder, tmp_path):
        config = KLConfig(reference=str(folder), num_samples=4, max_new_tokens=4)
        first = reference_samples(config, tmp_path, seed=0)
        [file] = (tmp_path / "kl").glob("*.jsonl")
        before = file.stat().st_mtime_ns
        assert reference_samples(config, tmp_path, seed=0) == first
        assert file.stat().st_mtime_ns == before
        more = reference_samples(KLConfig(reference=str(folder), num_samples=8, max_new_tokens=4), tmp_path, seed=0)
        assert len(more) == 8

    def test_an_endpoint_whose_model_is_known(self, loaded, tmp_path):
        """The server draws six characters evenly: log p_ref = -L·log 6, so KL = -L·log 6 - mean log q."""
        model, template = loaded
        with completions_server(Script()) as url:
            config = KLConfig(reference=f"{url}#toy", num_samples=40, max_new_tokens=5)
            samples = reference_samples(config, tmp_path, seed=0)
        assert [one.logp for one in samples] == [pytest.approx(-5 * math.log(6))] * 40
        assert len({one.text for one in samples}) > 30
        own = [-divergence(model, template, [one]).sequence + one.logp for one in samples]
        assert divergence(model, template, samples).sequence == pytest.approx(-5 * math.log(6) - np.mean(own), abs=1e-4)

    def test_a_server_that_gives_one_at_a_time_is_asked_until_there_are_enough(self, tmp_path):
        script = Script(most=1)
        with completions_server(script) as url:
            samples = reference_samples(
                KLConfig(reference=f"{url}#toy", num_samples=5, max_new_tokens=3), tmp_path, seed=0
            )
        assert (len(samples), len(script.asked)) == (5, 5)
        assert len({asked["seed"] for asked in script.asked}) == 5

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            (Script(most=0), "without one completion"),
            (Script(change=lambda choice: {**choice, "text": None}), "is no completion"),
            (
                Script(change=lambda choice: {**choice, "logprobs": {"tokens": ["a"], "token_logprobs": [math.nan]}}),
                "not finite",
            ),
            (
                Script(change=lambda choice: {**choice, "logprobs": {"tokens": ["a"], "token_logprobs": ["x"]}}),
                "is no completion",
            ),
        ],
    )
    def test_answers_that_are_none_are_refused_and_not_kept(self, tmp_path, script, said):
        with completions_server(script) as url:
            asked = KLConfig(reference=f"{url}#toy", num_samples=4, max_new_tokens=3)
            with pytest.raises(RunError, match=said):
                reference_samples(asked, tmp_path, seed=0)
            script.change, script.most = dict, None
            assert len(reference_samples(asked, tmp_path, seed=0)) == 4

    def test_a_sample_without_a_token_is_one(self, tmp_path):
        empty = {"text": "", "logprobs": {"tokens": [], "token_logprobs": []}, "finish_reason": "stop"}
        with completions_server(Script(change=lambda choice: empty)) as url:
            asked = KLConfig(reference=f"{url}#toy", num_samples=3, max_new_tokens=3)
            assert [one.text for one in reference_samples(asked, tmp_path, seed=0)] == [""] * 3

    def test_a_misspelt_control_token_is_refused(self, loaded):
        model, template = loaded
        sample = ReferenceSample(text="ab", logp=-1.0, num_tokens=2)
        with pytest.raises(UserError, match=r"no token <\|alligned\|>; did you mean <\|aligned\|>\?"):
            divergence(model, template, [sample], "<|alligned|>")

    def test_of_one_sample_the_interval_is_not_known(self, loaded):
        model, template = loaded
        found = divergence(model, template, [ReferenceSample(text="ab", logp=-1.0, num_tokens=2)])
        assert math.isnan(found.interval)
        assert math.isnan(found.token_interval)

    def test_lines_are_those_of_a_file(self, loaded):
        """As in training: a form feed or U+2028 ends none, so that no control token stands behind one."""
        model, template = loaded
        text = "a b\n\x0cc\u2028 d\n"
        [by_lines, halves] = [
            divergence(model, template, [ReferenceSample(text=text, logp=0.0, num_tokens=1)], prefix, True).sequence
            for prefix in ("", "<|aligned|>")
        ]
        assert by_lines != halves
        ids, counted = kl._laid_out(template, ReferenceSample(text=text, logp=0.0, num_tokens=1), "<|aligned|>", True)
        control = template.vocabulary.encode(["<|aligned|>"])[0]
        assert sum(list(ids[i : i + len(control)]) == control for i in range(len(ids))) == 2
        assert len(ids) - counted.sum() == 2 * len(control)

    def test_a_server_that_fails_keeps_what_was_sampled(self, tmp_path, monkeypatch):
        script = Script(statuses=[200, *[500] * 99])
        with completions_server(script) as url:
            config = KLConfig(reference=f"{url}#toy", num_samples=40, max_new_tokens=3)
            at_once = Endpoint(url, "toy", sleep=lambda seconds: None)
            monkeypatch.setattr("heedful.evaluation.kl.parse_endpoint", lambda name: at_once)
            with pytest.raises(RunError, match=r"32 of 40 samples of the reference are kept"):
                reference_samples(config, tmp_path, seed=0)
            script.statuses.clear()
            asked = len(script.asked)
            assert len(reference_samples(config, tmp_path, seed=0)) == 40
            assert len(script.asked) == asked + 1


def _plain(model):
    """The same weights read the ordinary way."""
    import copy

    inner = copy.deepcopy(model.inner)
    inner.set_attn_implementation("sdpa")
    return inner.eval()
