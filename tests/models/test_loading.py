from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from heedful.models import convert, digest, load_policy, load_tokenizer, merge, resolve, save, to_tensors
from heedful.types import UserError
from tests.fakes import save_tiny_model, tiny_model, tiny_tokenizer
from tests.models.packs import make_pack, plain_logps, plain_scores


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def _edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


class TestResolve:
    def test_a_folder_is_itself(self, folder: Path):
        assert resolve(str(folder)) == str(folder)

    def test_a_run_is_its_final_and_a_checkpoint_itself(self, folder: Path, tmp_path: Path):
        run = tmp_path / "run"
        shutil.copytree(folder, run / "final")
        shutil.copytree(folder, run / "checkpoints" / "step-20")
        assert resolve(str(run)) == str(run / "final")
        assert resolve(str(run / "checkpoints" / "step-20")) == str(run / "checkpoints" / "step-20")

    def test_an_unfinished_run_names_its_newest_checkpoint(self, folder: Path, tmp_path: Path):
        for step in (9, 100):
            shutil.copytree(folder, tmp_path / "run" / "checkpoints" / f"step-{step}")
        with pytest.raises(UserError, match=r"not finished.*step-100"):
            resolve(str(tmp_path / "run"))

    @pytest.mark.parametrize("name", ["./nowhere", "/no/where/at/all", "a/b/c", "no where"])
    def test_what_cannot_be_a_hub_name_is_looked_for_on_disk_only(self, name: str):
        with pytest.raises(UserError, match="no such folder"):
            resolve(name)

    def test_other_things_are_refused(self, tmp_path: Path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(UserError, match="is a file"):
            resolve(str(tmp_path / "file"))
        with pytest.raises(UserError, match="holds no model"):
            resolve(str(tmp_path))


class TestMistakesAreFoundBeforeWeightsLoad:
    @pytest.fixture(autouse=True)
    def _no_weights(self, monkeypatch):
        def forbidden(*args: object, **keywords: object):
            raise AssertionError("weights were loaded")

        monkeypatch.setattr("heedful.models.loading._load_weights", forbidden)

    def test_no_weights(self, folder: Path):
        (folder / "model.safetensors").unlink()
        with pytest.raises(UserError, match="holds no weights"):
            load_policy(str(folder))

    def test_a_missing_shard(self, folder: Path):
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(UserError, match="model-00002-of-00002"):
            load_policy(str(folder))

    def test_a_pointer_of_git_lfs(self, folder: Path):
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        with pytest.raises(UserError, match=r"model\.safetensors is only a git-LFS pointer, .* `git lfs pull`"):
            load_policy(str(folder))

    def test_a_tokenizer_without_eos(self, folder: Path):
        _edit(folder / "tokenizer_config.json", eos_token=None)
        with pytest.raises(UserError, match="no EOS token"):
            load_policy(str(folder))

    def test_no_tokenizer(self, folder: Path):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(UserError, match="no tokenizer"):
            load_policy(str(folder))

    def test_a_config_that_is_not_json(self, folder: Path):
        (folder / "config.json").write_text("{")
        with pytest.raises(UserError, match=r"config\.json cannot be read"):
            load_policy(str(folder))

    def test_an_unknown_architecture(self, folder: Path):
        _edit(folder / "config.json", model_type="nonesuch")
        with pytest.raises(UserError, match="not a config"):
            load_policy(str(folder))

    def test_code_of_its_own_without_trust(self, folder: Path):
        _edit(folder / "config.json", model_type="nonesuch", auto_map={"AutoConfig": "mine.Config"})
        with pytest.raises(UserError, match="trust_remote_code=true"):
            load_policy(str(folder))

    def test_a_classifier_of_several_labels(self, tmp_path: Path):
        folder = save_tiny_model(tmp_path / "m", score=True)
        _edit(folder / "config.json", id2label={"0": "a", "1": "b", "2": "c"})
        with pytest.raises(UserError, match="3 labels"):
            load_policy(str(folder), kind="score")

    def test_an_adapter_and_new_adapters(self, folder: Path):
        with pytest.raises(UserError, match="one of them"):
            load_policy(str(folder), lora={}, adapter=str(folder))
        with pytest.raises(UserError, match="not a PEFT adapter"):
            load_policy(str(folder), adapter=str(folder))


class TestWhatLoadsMustFit:
    def test_a_reward_model_is_no_language_model(self, tmp_path: Path):
        folder = save_tiny_model(tmp_path / "m", score=True)
        with pytest.raises(UserError, match=r"not those of a language model: lm_head\.weight"):
            load_policy(str(folder))

    def test_a_truncated_file(self, folder: Path):
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match="do not load"):
            load_policy(str(folder))

    def test_weights_of_another_shape(self, folder: Path):
        _edit(folder / "config.json", intermediate_size=64)
        with pytest.raises(UserError, match="weights in"):
            load_policy(str(folder))

    def test_a_tokenizer_that_is_too_large(self, folder: Path):
        tiny_tokenizer(["abc def " * 50, "zebra " * 20], vocab_size=340).save_pretrained(folder)
        tokenizer = load_tokenizer(str(folder))
        tokenizer.add_tokens([f"extra{n}" for n in range(100)])
        tokenizer.save_pretrained(folder)
        with pytest.raises(UserError, match="do not belong together"):
            load_policy(str(folder))

    @pytest.mark.parametrize(
        ("lora", "words"),
        [({"rank": 4}, "lora.rank"), ({"dropout": 0.1}, "lora.dropout is not"), ({"targets": ["nonesuch"]}, "targets")],
    )
    def test_lora_settings(self, folder: Path, lora: dict, words: str):
        with pytest.raises(UserError, match=words):
            load_policy(str(folder), lora=lora)

    def test_an_adapter_on_the_head(self, folder: Path):
        with pytest.raises(UserError, match="leave the head out"):
            load_policy(str(folder), lora={"targets": ["lm_head"]})


class TestRoundTrips:
    @pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2"])
    def test_a_language_model(self, arch: str, tmp_path: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        loaded = load_policy(str(save_tiny_model(tmp_path / "in", arch)))
        with torch.no_grad():
            for parameter in loaded.model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
        save(loaded.model, loaded.tokenizer, tmp_path / "out")
        pack = make_pack(vocab_size=300)
        ours = loaded.model(to_tensors(pack), {"logps"})["logps"]
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert torch.allclose(plain_logps(plain, pack), ours, atol=1e-5)
        again = load_policy(str(tmp_path / "out")).model
        assert torch.equal(again(to_tensors(pack), {"logps"})["logps"], ours)
        for (name, mine), theirs in zip(again.state_dict().items(), loaded.model.state_dict().values(), strict=True):
            assert torch.equal(mine, theirs), name
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        assert tokenizer("Hello\n there").input_ids == loaded.tokenizer("Hello\n there").input_ids
        assert not list((tmp_path / "out").glob("*.bin"))
        assert "heedful" not in (tmp_path / "out" / "config.json").read_text()

    def test_whole_tensors_from_elsewhere(self, folder: Path, tmp_path: Path):
        loaded = load_policy(str(folder))
        state = {name: torch.full_like(tensor, 0.5) for name, tensor in loaded.model.state_dict().items()}
        save(loaded.model, loaded.tokenizer, tmp_path / "out", state=state)
        assert all((tensor == 0.5).all() for tensor in load_file(tmp_path / "out" / "model.safetensors").values())

    def test_tied_weights_are_written_once(self, tmp_path: Path):
        loaded = load_policy(str(save_tiny_model(tmp_path / "in", "llama", tie_word_embeddings=True)))
        state = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
        save(loaded.model, loaded.tokenizer, tmp_path / "out", state=state)
        assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")
        again = load_policy(str(tmp_path / "out")).model.inner
        assert again.lm_head.weight is again.model.embed_tokens.weight

    @pytest.mark.parametrize("arch", ["llama", "gpt2"])
    def test_a_reward_model_scores_the_same_in_the_plain_classifier(self, arch: str, tmp_path: Path):
        from transformers import AutoModelForSequenceClassification

        loaded = load_policy(str(save_tiny_model(tmp_path / "lm", arch)), kind="score", seed=3)
        other = load_policy(str(tmp_path / "lm"), kind="score", seed=4)
        same = load_policy(str(tmp_path / "lm"), kind="score", seed=3)
        pack = make_pack(vocab_size=300)
        pack.ids[pack.response_ends - 1] = 0  # Every answer ends in EOS, as in training.
        ours = loaded.model(to_tensors(pack), {"scores"})["scores"]
        assert torch.equal(same.model(to_tensors(pack), {"scores"})["scores"], ours)
        assert not torch.allclose(other.model(to_tensors(pack), {"scores"})["scores"], ours)
        save(loaded.model, loaded.tokenizer, tmp_path / "out")
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
        assert plain.config.num_labels == 1
        assert plain.config.pad_token_id == 1
        assert torch.allclose(plain_scores(plain, pack), ours, atol=1e-5)

    def test_a_value_head_lies_beside(self, folder: Path, tmp_path: Path):
        loaded = load_policy(str(folder), value_head=True, seed=1)
        pack = to_tensors(make_pack(vocab_size=300))
        values = loaded.model(pack, {"values"})["values"]
        save(loaded.model, loaded.tokenizer, tmp_path / "out")
        again = load_policy(str(tmp_path / "out"), value_head=True, seed=2).model
        assert torch.equal(again(pack, {"values"})["values"], values)
        assert load_policy(str(tmp_path / "out")).model.value_head is None, "nobody asked for it"
        assert not torch.equal(
            load_policy(str(folder), value_head=True, seed=2).model(pack, {"values"})["values"], values
        )
        other = save_tiny_model(tmp_path / "wider", hidden_size=64)
        (tmp_path / "out" / "value_head.safetensors").rename(other / "value_head.safetensors")
        with pytest.raises(UserError, match=r"value_head.safetensors does not hold a value head of this model"):
            load_policy(str(other), value_head=True)

    @pytest.mark.parametrize("start", [{"lora": {"r": 4}}, {"adapter": "adapter"}])
    def test_a_value_head_lies_beside_an_adapter(self, folder: Path, tmp_path: Path, start: dict):
        first = load_policy(str(folder), value_head=True, lora={"r": 4}, seed=3)
        save(first.model, first.tokenizer, tmp_path / "adapter")
        if "adapter" in start:
            start = {"adapter": str(tmp_path / "adapter")}
        again = load_policy(str(folder), value_head=True, seed=4, **start).model.value_head
        same = [torch.equal(a, b) for a, b in zip(again.parameters(), first.model.value_head.parameters(), strict=True)]
        assert all(same) == ("adapter" in start)

    def test_a_value_head_computes_in_the_precision_of_the_weights(self, folder: Path):
        pack = to_tensors(make_pack(vocab_size=300))
        for dtype, wanted in (("fp64", torch.float64), ("bf16", torch.float32)):
            model = load_policy(str(folder), dtype=dtype, value_head=True).model
            assert model(pack, {"values"})["values"].dtype == wanted

    def test_float64(self, folder: Path):
        loaded = load_policy(str(folder), dtype="fp64")
        assert loaded.model(to_tensors(make_pack()), {"logps"})["logps"].dtype == torch.float64
        with pytest.raises(UserError, match="dtype=fp8"):
            load_policy(str(folder), dtype="fp8")


class TestPadding:
    def test_eos_is_never_padding(self, folder: Path):
        tokenizer = load_tokenizer(str(folder))
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|reserved_7|>"]})
        tokenizer.save_pretrained(folder)
        again = load_tokenizer(str(folder))
        assert again.eos_token == "<|end|>"
        assert again.pad_token == "<|pad|>" or again.pad_token == "<|reserved_7|>"
        assert again.pad_token_id != again.eos_token_id

    def test_a_tokenizer_without_a_spare_token_has_none(self, tmp_path: Path):
        tokenizer = tiny_tokenizer(chat_template=None)
        tokenizer.pad_token = None
        vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())
        vocabulary["added_tokens"] = [t for t in vocabulary["added_tokens"] if t["content"] != "<|pad|>"]
        folder = save_tiny_model(tmp_path / "m", tokenizer=tokenizer)
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
        loaded = load_policy(str(folder), kind="score")
        assert loaded.tokenizer.pad_token is None or loaded.tokenizer.pad_token_id != loaded.tokenizer.eos_token_id


class TestDigest:
    def test_it_is_the_weights_and_the_config(self, folder: Path, tmp_path: Path):
        first = digest(str(folder))
        assert digest(load_policy(str(folder))) == first
        shutil.copytree(folder, tmp_path / "copy")
        assert digest(str(tmp_path / "copy")) == first
        _edit(tmp_path / "copy" / "config.json", transformers_version="0.0.0")
        assert digest(str(tmp_path / "copy")) == first, "which version wrote it changes nothing"
        _edit(tmp_path / "copy" / "config.json", rms_norm_eps=0.1)
        assert digest(str(tmp_path / "copy")) != first
        tensors = load_file(folder / "model.safetensors")
        name = next(iter(tensors))
        tensors[name].view(-1)[0] += 1e-3
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        assert digest(str(folder)) != first


class Malicious:
    """What a `.bin` file may hold: an object that runs a command when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


class TestBin:
    @pytest.fixture
    def old(self, folder: Path) -> Path:
        """A folder as they were before safetensors."""
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        return folder

    def test_plain_tensors_load_and_convert(self, old: Path, tmp_path: Path):
        pack = to_tensors(make_pack(vocab_size=300))
        before = load_policy(str(old)).model(pack, {"logps"})["logps"]
        out = convert(str(old), tmp_path / "new")
        assert sorted(path.suffix for path in out.iterdir()) == [".json"] * 4 + [".safetensors"]
        assert torch.equal(load_policy(str(out)).model(pack, {"logps"})["logps"], before)
        with pytest.raises(UserError, match="safetensors already"):
            convert(str(out), tmp_path / "newer")
        with pytest.raises(UserError, match="not empty"):
            convert(str(old), out)
        with pytest.raises(UserError, match="is a file"):
            convert(str(old), out / "config.json")

    def test_tied_tensors_convert(self, tmp_path: Path):
        model = tiny_model("llama", 328, tie_word_embeddings=True)
        folder = save_tiny_model(tmp_path / "old", tie_word_embeddings=True)
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        out = convert(str(folder), tmp_path / "new")
        pack = make_pack(vocab_size=300)
        got = load_policy(str(out)).model(to_tensors(pack), {"logps"})["logps"]
        assert torch.allclose(got, plain_logps(model, pack), atol=1e-5)

    @pytest.mark.parametrize("inside", [True, False], ids=["among tensors", "alone"])
    def test_a_malicious_pickle_is_refused_and_never_run(self, old: Path, tmp_path: Path, inside: bool):
        mark = tmp_path / "it-ran"
        evil = Malicious(mark)
        torch.save({"model.norm.weight": torch.ones(32), "x": evil} if inside else evil, old / "pytorch_model.bin")
        with pytest.raises(UserError, match="cannot be loaded safely"):
            load_policy(str(old))
        with pytest.raises(UserError, match="more than plain tensors"):
            convert(str(old), tmp_path / "new")
        assert not mark.exists()
        assert not (tmp_path / "new").exists()

    def test_what_is_no_model_is_refused(self, old: Path, tmp_path: Path):
        torch.save([torch.ones(3)], old / "pytorch_model.bin")
        with pytest.raises(UserError, match="not a plain dictionary of tensors"):
            convert(str(old), tmp_path / "new")


class TestMerge:
    @pytest.mark.parametrize("kind", ["lm", "score"])
    def test_the_sum_is_the_adapted_model(self, kind: str, folder: Path, tmp_path: Path):
        loaded = load_policy(str(folder), kind=kind, lora={"r": 4}, seed=1)  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            for name, parameter in loaded.model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
        pack, want = to_tensors(make_pack(vocab_size=300)), {"lm": "logps", "score": "scores"}[kind]
        wanted = loaded.model(pack, {want})[want]
        save(loaded.model, loaded.tokenizer, tmp_path / "adapter")
        out = merge(str(tmp_path / "adapter"), tmp_path / "whole")
        whole = load_policy(str(out), kind=kind)  # pyright: ignore[reportArgumentType]
        assert not hasattr(whole.model.inner, "peft_config")
        assert torch.allclose(whole.model(pack, {want})[want], wanted, atol=1e-4)

    def test_what_is_no_adapter_is_refused(self, folder: Path, tmp_path: Path):
        with pytest.raises(UserError, match="nothing to merge"):
            merge(str(folder), tmp_path / "out")

    def test_a_pickled_adapter_is_refused_until_converted(self, folder: Path, tmp_path: Path):
        loaded = load_policy(str(folder), lora={"r": 4})
        save(loaded.model, loaded.tokenizer, tmp_path / "old")
        weights = tmp_path / "old" / "adapter_model.safetensors"
        torch.save(load_file(weights), tmp_path / "old" / "adapter_model.bin")
        weights.unlink()
        with pytest.raises(UserError, match="heed model convert"):
            load_policy(str(folder), adapter=str(tmp_path / "old"))
        convert(str(tmp_path / "old"), tmp_path / "new")
        load_policy(str(folder), adapter=str(tmp_path / "new"))


def test_a_model_with_its_own_code_reads_padded_batches_under_trust(tmp_path: Path):
    folder = save_tiny_model(tmp_path / "m")
    (folder / "configuration_own.py").write_text(
        "from transformers import LlamaConfig\n\n\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
    )
    (folder / "modeling_own.py").write_text(
        "from transformers import LlamaForCausalLM\n\nfrom .configuration_own import OwnConfig\n\n\n"
        "class OwnForCausalLM(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    auto = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    _edit(folder / "config.json", model_type="own", auto_map=auto)
    with pytest.raises(UserError, match="trust_remote_code=true"):
        load_policy(str(folder))
    loaded = load_policy(str(folder), trust_remote_code=True)
    assert not loaded.packed
    assert "own modelling code" in loaded.note
    pack = make_pack(vocab_size=300)
    got = loaded.model(to_tensors(pack), {"logps"})["logps"]
    assert torch.allclose(got, plain_logps(tiny_model("llama", 328), pack), atol=1e-5)
