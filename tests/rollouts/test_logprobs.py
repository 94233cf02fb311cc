from __future__ import annotations

import math

import pytest
import torch

from heedful.models import PackedModel, attention
from heedful.rollouts import in_order, sample, to_examples
from heedful.rollouts.logprobs import sequence_logps
from heedful.types import Message
from tests.fakes import tiny_model
from tests.rollouts.helpers import PlainTemplate, prompts_of

TEMPLATE = PlainTemplate()
PROMPTS = prompts_of("def add(a, b):\n", "Human: How?", "x", "Human: How?")


def packed(**settings) -> PackedModel:
    attention.register()
    model = tiny_model("llama", len(TEMPLATE.tokenizer), attn_implementation="heedful", **settings)
    return PackedModel(model)


def sampled(model, **settings):
    return in_order(
        sample(model, TEMPLATE, PROMPTS, samples_per_prompt=3, max_new_tokens=12, want_logps=True, **settings)
    )


def test_the_samplers_own_log_probabilities_come_back():
    """The packed forward over what was sampled agrees with what the sampler saw, whatever order the samples are in."""
    model = packed()
    rollouts = sampled(model)[::-1]
    assert sequence_logps(model, rollouts) == pytest.approx([sum(r.logps) for r in rollouts], abs=1e-3)


def test_another_model_gives_what_its_plain_forward_gives():
    rollouts, other = sampled(packed()), packed(seed=1)
    found = sequence_logps(other, rollouts)
    plain = tiny_model("llama", len(TEMPLATE.tokenizer), seed=1).eval()
    for rollout, logp in zip(rollouts, found, strict=True):
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        with torch.no_grad():
            logps = plain(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        wanted = logps.gather(1, torch.tensor(rollout.response_ids)[:, None]).sum()
        assert logp == pytest.approx(float(wanted), abs=1e-3)


def test_a_token_that_the_model_does_not_have_is_never_said():
    model = packed()
    rollouts = sampled(model)
    whole = sequence_logps(model, rollouts)
    rollouts[2].response_ids = [*rollouts[2].response_ids, len(TEMPLATE.tokenizer)]
    found = sequence_logps(model, rollouts)
    assert found[2] == -math.inf
    assert found[:2] + found[3:] == pytest.approx(whole[:2] + whole[3:], abs=1e-4)
    assert sequence_logps(model, rollouts[2:3]) == [-math.inf]


def test_samples_become_examples():
    rollouts = sampled(packed(), temperature=0.9)
    examples = to_examples(rollouts[::-1], source="tiny")
    assert [e.prompt for e in examples] == PROMPTS
    assert [r.text for e in examples for r in e.responses] == [r.text for r in rollouts]
    first = examples[0].responses[0]
    assert first.messages[0].role == "text"
    assert first.extra == {
        "finished": rollouts[0].finished,
        "seed": rollouts[0].seed,
        "tokens": len(rollouts[0].response_ids),
        "logp": pytest.approx(sum(rollouts[0].logps)),
    }
    chat = sampled(packed())
    for rollout in chat:
        rollout.prompt = [Message("user", "Hello.")]
        rollout.logps = None
    answer = to_examples(chat)[0].responses[0]
    assert answer.messages[0].role == "assistant"
    assert "logp" not in answer.extra
