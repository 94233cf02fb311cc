from __future__ import annotations

import pytest
import torch
from transformers.models.llama import modeling_llama

from heedful.models import attention, load_policy, probe, to_tensors
from heedful.models.heads import silence_dropout
from heedful.types import UserError
from tests.fakes import ARCHES, STUBBORN, save_tiny_model, tiny_model
from tests.models.packs import make_pack, plain_logps


@pytest.mark.parametrize("kind", ["lm", "score"])
@pytest.mark.parametrize("arch", ARCHES)
def test_models_that_can_read_packs_pass(arch: str, kind: str):
    attention.register()
    model = tiny_model(arch, score=kind == "score")
    verdict = probe.probe(model, kind)
    assert verdict == (True, "reads packs")
    assert model.config._attn_implementation == attention.NAME
    assert model.training


@pytest.mark.parametrize("arch", STUBBORN)
def test_models_that_cannot_are_found_out_and_trained_through_padding(arch: str, tmp_path):
    from transformers import AutoModelForCausalLM

    save_tiny_model(tmp_path / "m", arch)
    loaded = load_policy(str(tmp_path / "m"))
    assert not loaded.packed
    assert loaded.note.startswith("reads padded batches, which is slower:")
    pack = make_pack(vocab_size=300)
    got = loaded.model(to_tensors(pack), {"logps"})["logps"]
    wanted = plain_logps(AutoModelForCausalLM.from_pretrained(tmp_path / "m"), pack)
    assert torch.allclose(got, wanted, atol=1e-5)


def _change_attention(monkeypatch, change):
    original = modeling_llama.LlamaAttention.forward

    def forward(self, hidden_states, *args, **keywords):
        return change(original, self, hidden_states, *args, **keywords)

    monkeypatch.setattr(modeling_llama.LlamaAttention, "forward", forward)


def _lose_the_mask(original, self, hidden_states, *args, **keywords):
    if isinstance(keywords["attention_mask"], attention.TreeMask):
        keywords["attention_mask"] = None
    return original(self, hidden_states, *args, **keywords)


def _add_sinks(original, self, hidden_states, *args, **keywords):
    return original(self, hidden_states, *args, **keywords, s_aux=torch.zeros(4))


def _count_places(original, self, hidden_states, *args, **keywords):
    # Something like a recurrence or a bias by place in the row: it knows nothing of positions that restart.
    ramp = torch.arange(hidden_states.shape[1], dtype=hidden_states.dtype)[None, :, None] * 0.01
    return original(self, hidden_states + ramp, *args, **keywords)


@pytest.mark.parametrize("change", [_lose_the_mask, _add_sinks, _count_places])
def test_models_that_go_wrong_in_silence_are_found_out(change, monkeypatch):
    _change_attention(monkeypatch, change)
    attention.register()
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    verdict = probe.probe(model, "lm")
    assert not verdict.packed
    assert model.config._attn_implementation == "eager"


def test_a_window_that_attention_forgets_is_found_out_although_the_real_one_is_long(monkeypatch):
    original = attention._over_trees

    def forgets(query, key, value, layout, window, *rest):
        return original(query, key, value, layout, None, *rest)

    monkeypatch.setattr(attention, "_over_trees", forgets)
    attention.register()
    assert not probe.probe(tiny_model("mistral", sliding_window=4096), "lm").packed


def test_logits_of_an_unknown_making_are_refused(monkeypatch):
    original = modeling_llama.LlamaForCausalLM.forward

    def forward(self, *args, **keywords):
        out = original(self, *args, **keywords)
        out.logits = out.logits * 1.5
        return out

    monkeypatch.setattr(modeling_llama.LlamaForCausalLM, "forward", forward)
    attention.register()
    with pytest.raises(UserError, match="cannot be trained: its results differ"):
        probe.probe(tiny_model("llama"), "lm")


def test_dropout_is_silenced_everywhere():
    for arch, settings in {
        "gpt2": {"resid_pdrop": 0.5, "attn_pdrop": 0.5, "embd_pdrop": 0.5},
        "opt": {"dropout": 0.5, "attention_dropout": 0.5, "layerdrop": 0.5},
        "llama": {"attention_dropout": 0.5},
        "phi": {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attention_dropout": 0.5},
    }.items():
        model = tiny_model(arch, **settings)
        silence_dropout(model)
        ids = torch.arange(2, 22)[None]
        assert torch.equal(model(ids).logits, model(ids).logits), arch
        assert torch.equal(model(ids).logits, model.eval()(ids).logits), arch
