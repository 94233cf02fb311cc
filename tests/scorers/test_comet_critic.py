from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from heedful.models import convert, keras
from heedful.models.keras import HEAD_FILE, torch_tensors
from heedful.scorers import get
from heedful.scorers.comet_critic import PHRASES, PUBLISHED_HEAD_FILE, sentences
from heedful.scorers.identity import identity_of
from heedful.types import UserError
from tests.fakes import tiny_config
from tests.scorers.tiny import pair_tokenizer, seeded

PROMPT = "<head> PersonX helps PersonY </head> <relation> xNeed </relation> [GEN] "


def critic() -> tuple[Any, nn.Module]:
    """A trunk with its pooler, and the head 32 → 16 → GELU → 1 → sigmoid."""
    from transformers import RobertaModel

    tokenizer = pair_tokenizer()
    trunk = seeded(lambda: RobertaModel(tiny_config("roberta", len(tokenizer) + 8)))
    return trunk, seeded(lambda: nn.Sequential(nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 1), nn.Sigmoid()), 1)


def head_tensors(head: nn.Module) -> dict[str, torch.Tensor]:
    names = {"0": "dense", "2": "out_proj"}
    return {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": t for name, t in head.state_dict().items()}


def keras_arrays(trunk: Any, head: nn.Module) -> dict[str, np.ndarray]:
    """The critic's weights as TensorFlow's RoBERTa and two dense layers name, nest and turn them."""
    arrays = {}
    for name, tensor in trunk.state_dict().items():
        path, _, leaf = name.rpartition(".")
        path = path.replace(".", "/").replace("encoder/layer/", "encoder/layer_._")
        if leaf == "weight":
            leaf = (
                "gamma" if "LayerNorm" in path else "embeddings" if "position" in path or "type" in path else "kernel"
            )
            leaf = "weight" if "word_embeddings" in path else leaf
        elif "LayerNorm" in path:
            leaf = "beta"
        arrays[f"roberta/roberta/{path}/{leaf}:0"] = tensor.numpy().T if leaf == "kernel" else tensor.numpy()
    for number, layer in (("", head[0]), ("_1", head[2])):  # pyright: ignore[reportIndexIssue]
        arrays[f"dense{number}/dense{number}/kernel:0"] = layer.weight.detach().numpy().T
        arrays[f"dense{number}/dense{number}/bias:0"] = layer.bias.detach().numpy()
    return arrays


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The RoBERTa that the critic was tuned from, with weights that are not the critic's."""
    from transformers import RobertaModel

    folder = tmp_path_factory.mktemp("base") / "roberta"
    tokenizer = pair_tokenizer()
    seeded(lambda: RobertaModel(tiny_config("roberta", len(tokenizer) + 8)), 9).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def converted(base, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(keras, "read_h5", lambda path: keras_arrays(*critic()))
    return convert(str(tmp_path / "critic.h5"), tmp_path / "critic", like=str(base))


def plain(prompt: str, tail: str) -> float:
    trunk, head = critic()
    with torch.no_grad():
        ids = torch.tensor([pair_tokenizer()(*sentences(prompt, tail))["input_ids"]])
        return float(head(trunk(input_ids=ids).pooler_output))


def test_keras_names_and_turns_become_pytorchs():
    trunk, head = critic()
    found, found_head = torch_tensors(keras_arrays(trunk, head))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in trunk.state_dict().items()
    }
    assert all(torch.equal(found_head[name], tensor) for name, tensor in head_tensors(head).items())


def test_the_critic_is_the_plain_models_probability(converted):
    prompts = [PROMPT, PROMPT.replace("xNeed", "HinderedBy"), PROMPT.replace("PersonX helps", "PersonX often meets")]
    tails = [" to know PersonY", "time", "to be there"]
    judge = get(f"comet_critic:{converted}")
    wanted = [plain(p, t) for p, t in zip(prompts, tails, strict=True)]
    assert judge(prompts, tails) == pytest.approx(wanted, abs=1e-6)
    assert judge(prompts[:1], tails[:1]) == pytest.approx(wanted[:1], abs=1e-6)
    assert judge(prompts, tails) == judge(prompts, tails)
    assert judge(prompts[:1], [" "]) == [0]


def test_the_published_converters_folder_is_read_too(converted):
    wanted = get(f"comet_critic:{converted}")([PROMPT], ["time"])
    (converted / HEAD_FILE).unlink()
    torch.save(head_tensors(critic()[1]), converted / PUBLISHED_HEAD_FILE)
    assert get(f"comet_critic:{converted}")([PROMPT], ["time"]) == wanted
    (converted / PUBLISHED_HEAD_FILE).unlink()
    with pytest.raises(UserError, match="the critic's head is missing"):
        get(f"comet_critic:{converted}")


def test_a_critic_with_another_head_is_another_scorer(converted):
    """Scores are cached by who gave them, and the head lies beside the weights of the trunk."""
    from safetensors.torch import load_file, save_file

    name = f"comet_critic:{converted}"
    before = identity_of(name)
    assert identity_of(name) == before
    head = load_file(converted / HEAD_FILE)
    save_file({name: tensor + 1 for name, tensor in head.items()}, converted / HEAD_FILE)
    assert identity_of(name) != before


def test_sentences_name_the_people_the_same_everywhere():
    assert sentences(PROMPT, " to know PersonY ") == ("Alex helps Robin", "but before, Alex needed to know Robin")
    for relation, phrase in PHRASES.items():
        _, second = sentences(PROMPT.replace("xNeed", relation), "time")
        assert second == f"{phrase.replace('PersonX', 'Alex')} time"
    with pytest.raises(UserError, match="no relation 'xHope'; it knows HinderedBy"):
        sentences(PROMPT.replace("xNeed", "xHope"), "time")
    with pytest.raises(UserError, match="is not '<head> EVENT"):
        sentences("How are you?", "time")


def test_an_h5_file_is_read_as_it_lies(tmp_path):
    h5py = pytest.importorskip("h5py")
    arrays = keras_arrays(*critic())
    with h5py.File(tmp_path / "critic.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    found = keras.read_h5(tmp_path / "critic.h5")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_without_h5py_the_extra_is_named(base, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r"heedful\[keras\]"):
        convert(str(tmp_path / "critic.h5"), tmp_path / "out", like=str(base))


def test_weights_that_are_not_a_critics_are_refused(base, tmp_path, monkeypatch):
    arrays = keras_arrays(*critic())

    def refused(changed: dict[str, np.ndarray]) -> str:
        monkeypatch.setattr(keras, "read_h5", lambda path: changed)
        with pytest.raises(UserError) as refusal:
            convert("critic.h5", tmp_path / "out", like=str(base))
        assert not (tmp_path / "out").exists()
        return str(refusal.value)

    pooler = "roberta/roberta/pooler/dense/kernel:0"
    assert "critic.h5 has no pooler.dense.weight" in refused({k: v for k, v in arrays.items() if k != pooler})
    assert "pooler.dense.weight is (16, 32), but (32, 32)" in refused(arrays | {pooler: arrays[pooler][:, :16]})
    assert "two dense layers" in refused({k: v for k, v in arrays.items() if not k.startswith("dense_1")})
    assert "has pooler.more.bias" in refused(arrays | {"roberta/pooler/more/bias:0": np.zeros(3)})
    with pytest.raises(UserError, match="give both or neither"):
        convert("critic.h5", tmp_path / "out")
