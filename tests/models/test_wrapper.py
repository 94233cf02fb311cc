from __future__ import annotations

import pytest
import torch
from torch import nn

from heedful.models import PackedModel, attention, load_policy, save, to_tensors
from heedful.models.heads import lm_head, new_value_head
from heedful.models.logprobs import ReferenceStates
from tests.fakes import save_tiny_model, tiny_model
from tests.models.packs import assert_same_gradients, gradients, make_pack, plain_logps, rows_of


def _packed(arch: str = "llama", **settings) -> PackedModel:
    attention.register()
    model = tiny_model(arch, **settings)
    model.set_attn_implementation(attention.NAME)
    return PackedModel(model)


def test_wanting_nothing_or_nonsense_is_our_mistake():
    pack = to_tensors(make_pack())
    with pytest.raises(AssertionError, match="nobody wants"):
        _packed()(pack, frozenset())
    with pytest.raises(AssertionError, match="unknown"):
        _packed()(pack, {"logits"})
    with pytest.raises(AssertionError, match="a divergence has a reference"):
        _packed()(pack, {"kl"})
    with pytest.raises(AssertionError, match="value head"):
        _packed()(pack, {"values"})


def test_another_attention_never_reads_packs_in_silence():
    model = _packed()
    model.inner.set_attn_implementation("sdpa")
    with pytest.raises(AssertionError, match="another attention"):
        model(to_tensors(make_pack()), {"logps"})


def test_everything_at_once_is_everything_alone():
    model, pack = _packed(), to_tensors(make_pack())
    wants = {"logps", "entropy", "sum_p2"}
    together = model(pack, wants)
    assert together.keys() == wants
    for want in wants:
        assert torch.equal(model(pack, {want})[want], together[want])
        assert together[want].shape == (len(pack.targets),)


def test_values_are_read_where_the_token_is_predicted():
    model, pack = _packed(), to_tensors(make_pack())
    model.value_head = nn.Linear(32, 1)
    values = model(pack, {"values", "logps"})["values"]
    states = model._states(pack)[0]
    assert torch.allclose(values, model.value_head(states[pack.sources])[:, 0])
    # Both responses of a tree begin at the prompt's last token, so their first values are the same.
    first, second = (pack.response_of == 0).nonzero()[0], (pack.response_of == 1).nonzero()[0]
    assert values[first] == values[second]


@pytest.mark.parametrize(("arch", "tied"), [("llama", True), ("gemma2", True), ("gpt_neox", False), ("cohere", True)])
def test_the_divergence_is_that_of_the_plain_models(arch: str, tied: bool):
    """Soft-caps, scales and tied heads included, in value and in gradient, of which the reference gets none."""
    policy, reference, pack = (
        _packed(arch, tie_word_embeddings=tied),
        _packed(arch, seed=1, tie_word_embeddings=tied),
        make_pack(),
    )
    states = reference(to_tensors(pack), {"states"})["states"]
    kl = policy(to_tensors(pack), {"kl"}, ReferenceStates(states, lm_head(reference.inner)))["kl"]

    def plain(model: PackedModel) -> torch.Tensor:
        model.inner.set_attn_implementation("eager")
        found = [model.inner(input_ids=ids[None]).logits[0, prompt - 1 : -1] for ids, prompt in rows_of(pack)]
        model.inner.set_attn_implementation(attention.NAME)
        return torch.cat(found).log_softmax(-1)

    logps = plain(policy)
    wanted = (logps.exp() * (logps - plain(reference).detach())).sum(-1)
    assert torch.allclose(kl, wanted, atol=1e-5)
    untouched = torch.autograd.grad(kl.sum(), [states], allow_unused=True, retain_graph=True)
    weights = torch.linspace(-1, 1, len(kl))
    assert_same_gradients(gradients(policy, kl, weights), gradients(policy, wanted, weights), 1e-4)
    assert untouched == (None,)


def test_values_train_their_head_alone():
    model, pack = _packed(), to_tensors(make_pack())
    model.value_head = new_value_head(32)
    model(pack, {"values"})["values"].sum().backward()
    assert all(p.grad is not None for p in model.value_head.parameters())
    assert all(p.grad is None for p in model.inner.parameters())


def test_a_pack_says_what_its_trees_say_alone():
    model = _packed("mistral")
    together = model(to_tensors(make_pack([(5, (12, 9)), (3, (20,))], seed=3)), {"logps"})["logps"]
    pack = make_pack([(5, (12, 9)), (3, (20,))], seed=3)
    alone = make_pack([(3, (20,))])
    alone.ids = pack.ids[26:]
    assert torch.allclose(together[21:], model(to_tensors(alone), {"logps"})["logps"], atol=1e-6)


@pytest.mark.parametrize("arch", ["llama", "qwen3", "gemma2"])
def test_bfloat16_computes_on_float32_parameters(arch: str):
    model, pack = _packed(arch), to_tensors(make_pack())
    exact = model(pack, {"logps"})["logps"]
    half = PackedModel(model.inner, compute_dtype=torch.bfloat16)
    got = half(pack, {"logps"})["logps"]
    assert got.dtype == torch.float32
    assert not torch.equal(got, exact)
    assert torch.allclose(got, exact, atol=0.3)
    got.sum().backward()
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in model.inner.parameters())


def test_gradient_checkpointing_changes_nothing(tmp_path):
    save_tiny_model(tmp_path / "m")
    pack, results = to_tensors(make_pack(vocab_size=300)), []
    for checkpointing in (False, True):
        model = load_policy(str(tmp_path / "m"), gradient_checkpointing=checkpointing).model
        logps = model(pack, {"logps"})["logps"]
        results.append(gradients(model, logps, torch.linspace(-1, 1, len(logps))))
    assert_same_gradients(results[1], results[0], 1e-6)


class TestLora:
    """The reference of a LoRA run is the model the run started from."""

    pack = make_pack(vocab_size=300)

    @pytest.fixture
    def base(self, tmp_path) -> str:
        return str(save_tiny_model(tmp_path / "base"))

    def _plain(self, base: str) -> torch.Tensor:
        from transformers import AutoModelForCausalLM

        with torch.no_grad():
            return plain_logps(AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager"), self.pack)

    def _train(self, model: PackedModel, steps: int = 3) -> torch.Tensor:
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            (-model(to_tensors(self.pack), {"logps"})["logps"].mean()).backward()
            optimizer.step()
        return self._logps(model)

    @torch.no_grad()
    def _logps(self, model: PackedModel) -> torch.Tensor:
        return model(to_tensors(self.pack), {"logps"})["logps"]

    def test_of_new_adapters_it_is_the_base(self, base: str):
        model = load_policy(base, lora={"r": 4, "alpha": 8.0}).model
        start = self._logps(model)
        assert torch.allclose(start, self._plain(base), atol=1e-5), "a new adapter begins as nothing"
        trained = self._train(model)
        assert not torch.allclose(trained, start, atol=0.1)
        with model.reference():
            assert torch.allclose(self._logps(model), start, atol=1e-6)
        assert torch.equal(self._logps(model), trained)

    def test_of_a_continued_adapter_it_is_base_and_that_adapter(self, base: str, tmp_path):
        first = load_policy(base, lora={"r": 4})
        middle = self._train(first.model)
        save(first.model, first.tokenizer, tmp_path / "adapter")
        for given in ({"name": base, "adapter": str(tmp_path / "adapter")}, {"name": str(tmp_path / "adapter")}):
            second = load_policy(**given)
            trainable = {n for n, p in second.model.named_parameters() if p.requires_grad}
            assert torch.allclose(self._logps(second.model), middle, atol=1e-5)
            assert second.digest != first.digest
            trained = self._train(second.model)
            assert not torch.allclose(trained, middle, atol=0.05)
            with second.model.reference():
                assert torch.allclose(self._logps(second.model), middle, atol=1e-5)
            assert torch.equal(self._logps(second.model), trained)
            assert {n for n, p in second.model.named_parameters() if p.requires_grad} == trainable
            assert not any(".start." in name for name in second.model.state_dict())
            save(second.model, second.tokenizer, tmp_path / "again")
            assert torch.allclose(self._logps(load_policy(str(tmp_path / "again")).model), trained, atol=1e-5)
            assert not (tmp_path / "again" / "start").exists()

    def test_only_adapters_learn(self, base: str):
        model = load_policy(base, lora={"r": 4}).model
        assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)
        assert any(p.requires_grad for p in model.parameters())

    def test_a_score_head_learns_beside_its_adapters(self, base: str, tmp_path):
        loaded = load_policy(base, kind="score", lora={"r": 4})
        model, pack = loaded.model, to_tensors(self.pack)
        before = model(pack, {"scores"})["scores"]
        (before * torch.linspace(-1, 1, len(before))).sum().backward()
        heads = [p for n, p in model.named_parameters() if "score" in n and p.requires_grad]
        assert [p.grad is not None for p in heads] == [True]
        with torch.no_grad():
            heads[0].add_(1.0)
        after = model(pack, {"scores"})["scores"].detach()
        assert not torch.allclose(after, before.detach())
        with model.reference():
            assert torch.allclose(model(pack, {"scores"})["scores"], before.detach(), atol=1e-6)
        save(model, loaded.tokenizer, tmp_path / "adapter")
        again = load_policy(str(tmp_path / "adapter"), kind="score").model
        assert torch.allclose(again(pack, {"scores"})["scores"], after, atol=1e-5)
