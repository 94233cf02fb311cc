from __future__ import annotations

import math

import pytest
import torch

from heedful.rollouts import in_order, sample
from heedful.types import UserError
from tests.fakes import tiny_model
from tests.rollouts.helpers import PlainTemplate, prompts_of

TEMPLATE = PlainTemplate()
PROMPTS = prompts_of(
    "def add(a, b):\n",
    "Human: How?",
    "The quick brown fox jumps over the dog.",
    "x",
    "def f():\n",
    "What is your name?",
)
ARCHES = ["llama", "qwen3", "mistral", "gemma2", "gpt2", "gpt_neox", "opt", "bloom", "olmo2"]


def model_of(arch: str = "llama", **overrides):
    return tiny_model(arch, len(TEMPLATE.tokenizer), **overrides)


def ids_of(rollouts) -> dict[tuple[int, int], list[int]]:
    return {(r.prompt_index, r.sample_index): r.response_ids for r in rollouts}


@pytest.mark.parametrize("arch", ARCHES)
def test_greedy_is_the_argmax_of_a_full_forward(arch):
    """Each token of every sample is what an uncached forward over prompt and answer so far would choose."""
    model = model_of(arch)
    for rollout in sample(model, TEMPLATE, PROMPTS, max_new_tokens=12, temperature=0):
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        with torch.no_grad():
            best = model.eval()(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].argmax(-1)
        assert rollout.response_ids == best.tolist()


@pytest.mark.parametrize("arch", ["llama", "gpt2", "mistral"])
def test_logps_are_those_of_a_full_forward(arch):
    model = model_of(arch)
    rollouts = list(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=3, max_new_tokens=9, top_k=20, want_logps=True))
    assert len(rollouts) == 18
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        with torch.no_grad():
            logps = model.eval()(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        wanted = logps.gather(1, torch.tensor(rollout.response_ids)[:, None])[:, 0]
        assert rollout.logps == pytest.approx(wanted.tolist(), abs=1e-4)


def test_a_sample_does_not_depend_on_its_company():
    model = model_of(initializer_range=0.5)
    everything = ids_of(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=4, max_new_tokens=20, seed=5))
    small = ids_of(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=4, max_new_tokens=20, seed=5, batch_rows=3))
    alone = ids_of(sample(model, TEMPLATE, PROMPTS[2:3], samples_per_prompt=4, max_new_tokens=20, seed=5))
    backwards = ids_of(sample(model, TEMPLATE, PROMPTS[::-1], samples_per_prompt=4, max_new_tokens=20, seed=5))
    assert everything == small
    assert all(alone[0, k] == everything[2, k] for k in range(4))
    assert all(backwards[5 - p, k] == ids for (p, k), ids in everything.items())
    assert len({tuple(ids) for ids in everything.values()}) > 12


def test_more_samples_and_a_longer_limit_extend_what_was_there():
    model = model_of()
    short = ids_of(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=2, max_new_tokens=5, seed=1))
    longer = ids_of(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=3, max_new_tokens=15, seed=1))
    assert all(longer[key][:5] == ids for key, ids in short.items())
    assert short != ids_of(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=2, max_new_tokens=5, seed=2))


def test_sampled_frequencies_are_the_models_probabilities():
    model = model_of()
    prompt = PROMPTS[:1]
    rollouts = list(sample(model, TEMPLATE, prompt, samples_per_prompt=4000, max_new_tokens=1, temperature=0.5))
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([rollouts[0].prompt_ids])).logits[0, -1]
    wanted = torch.softmax(logits / 0.5, -1)
    counts = torch.bincount(torch.tensor([r.response_ids[0] for r in rollouts]), minlength=len(wanted))
    top = wanted.topk(5)
    for p, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        assert counts[token] / 4000 == pytest.approx(p, abs=5 * math.sqrt(p / 4000))


def test_finished_means_a_stop_token_and_text_leaves_it_out():
    model = model_of()
    with torch.no_grad():  # the end becomes likely, not certain
        model.lm_head.weight[TEMPLATE.stop_ids[0]] = model.lm_head.weight[5] * 1.5
    rollouts = in_order(sample(model, TEMPLATE, PROMPTS, samples_per_prompt=30, max_new_tokens=40))
    ended, cut = [r for r in rollouts if r.finished], [r for r in rollouts if not r.finished]
    assert ended
    assert cut
    assert all(r.response_ids[-1] in TEMPLATE.stop_ids and "<|end|>" not in r.text for r in ended)
    assert all(len(r.response_ids) == 40 and TEMPLATE.stop_ids[0] not in r.response_ids for r in cut)
    assert all(TEMPLATE.stop_ids[0] not in r.response_ids[:-1] for r in ended)
    assert [(r.prompt_index, r.sample_index) for r in rollouts] == [(p, k) for p in range(6) for k in range(30)]


def test_stop_strings_end_a_sample_and_are_cut():
    model = model_of()
    free = in_order(sample(model, TEMPLATE, PROMPTS, max_new_tokens=30, samples_per_prompt=2))
    stop = free[0].text[10:12]
    stopped = in_order(sample(model, TEMPLATE, PROMPTS, max_new_tokens=30, samples_per_prompt=2, stop=[stop]))
    assert stopped[0].finished
    for a, b in zip(free, stopped, strict=True):
        assert a.response_ids[: len(b.response_ids)] == b.response_ids
        assert b.text == a.text.split(stop)[0]
        assert b.finished == (stop in a.text)
        assert b.finished or len(b.response_ids) == 30


def test_the_context_is_a_limit():
    model = model_of("gpt2", n_positions=32)
    rollouts = list(sample(model, TEMPLATE, PROMPTS, max_new_tokens=100))
    assert all(len(r.prompt_ids) + len(r.response_ids) == 32 for r in rollouts if not r.finished)
    with pytest.raises(UserError, match=r"Prompt 0 has .* context 8"):
        list(sample(model_of("gpt2", n_positions=8), TEMPLATE, PROMPTS))


def test_mistakes_are_sentences():
    model = model_of()
    with pytest.raises(UserError, match="Prompt 0 has no token"):
        list(sample(model, TEMPLATE, prompts_of("")))
    with pytest.raises(UserError, match="top_p=0"):
        list(sample(model, TEMPLATE, PROMPTS, top_p=0.0))
    with pytest.raises(UserError, match="temperature=-1"):
        list(sample(model, TEMPLATE, PROMPTS, temperature=-1))


def test_dropout_is_off_and_the_mode_comes_back():
    model = model_of("gpt2", resid_pdrop=0.9).train()
    a = ids_of(sample(model, TEMPLATE, PROMPTS, max_new_tokens=8))
    assert model.training
    assert a == ids_of(sample(model.eval(), TEMPLATE, PROMPTS, max_new_tokens=8))
    assert not model.training


def test_each_prompt_is_read_once():
    """The prefill sees one row a prompt however many samples it has; afterwards each step feeds one token a row."""
    model, shapes = model_of(), []
    model.model.embed_tokens.register_forward_hook(lambda _m, inputs, _o: shapes.append(tuple(inputs[0].shape)))
    list(sample(model, TEMPLATE, prompts_of("def f():\n", "def f():\n x"), samples_per_prompt=8, max_new_tokens=4))
    assert shapes[0][0] == 2
    assert all(rows <= 16 and width == 1 for rows, width in shapes[1:])
