from __future__ import annotations

import pytest
import torch

from heedful.models import load_policy, load_tokenizer
from heedful.types import UserError
from tests.fakes import save_tiny_model

NAMES = ("<|good|>", "<|bad|>")


@pytest.mark.parametrize("arch", ["llama", "phi"])  # phi's head has a bias
def test_new_rows_are_the_means_of_what_spelled_the_tokens(tmp_path, arch):
    folder = str(save_tiny_model(tmp_path / "m", arch))
    plain, loaded = load_policy(folder), load_policy(folder, added_tokens=NAMES)
    before = load_tokenizer(folder)
    for name in NAMES:
        new, parts = loaded.tokenizer.convert_tokens_to_ids(name), before(name)["input_ids"]
        assert len(parts) > 1
        for get in ("get_input_embeddings", "get_output_embeddings"):
            old, now = (getattr(model.model.inner, get)().weight for model in (plain, loaded))
            assert torch.equal(now[new], old[parts].mean(0))
            kept = list(range(len(before)))
            assert torch.equal(now[kept], old[kept])
    if arch == "phi":
        bias, old = (m.model.inner.get_output_embeddings().bias for m in (loaded, plain))
        assert torch.equal(bias[new], old[parts].mean())


def test_matrices_grow_where_there_is_no_spare_row_and_no_random_number_is_drawn(tmp_path):
    from heedful.models import save
    from tests.fakes import tiny_model, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    tiny_model("llama", len(tokenizer), tie_word_embeddings=True).save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_policy(str(tmp_path / "m"), added_tokens=NAMES)
    assert torch.equal(torch.rand(1), expected)
    assert first.model.inner.config.vocab_size == len(tokenizer) + 2
    save(first.model, first.tokenizer, tmp_path / "saved")
    # A model that has the tokens keeps what it learnt about them.
    again = load_policy(str(tmp_path / "saved"), added_tokens=NAMES)
    assert torch.equal(again.model.inner.get_input_embeddings().weight, first.model.inner.get_input_embeddings().weight)


def test_adapters_cannot_learn_new_tokens(tmp_path):
    folder = str(save_tiny_model(tmp_path / "m"))
    with pytest.raises(UserError, match="adapters cannot learn new ones"):
        load_policy(folder, lora={"r": 2, "alpha": 4.0, "targets": None}, added_tokens=NAMES)


@pytest.mark.parametrize("arch", ["llama", "phi"])
def test_new_rows_may_be_the_mean_of_all_with_a_hundredth_of_noise(tmp_path, arch):
    folder = str(save_tiny_model(tmp_path / "m", arch))
    plain = load_policy(folder)
    loaded, again = (load_policy(folder, added_tokens=NAMES, new_rows="mean") for _ in range(2))
    new = loaded.tokenizer.convert_tokens_to_ids(list(NAMES))
    for get in ("get_input_embeddings", "get_output_embeddings"):
        old, now, same = (getattr(model.model.inner, get)().weight for model in (plain, loaded, again))
        noise = (now[new] - old[: min(new)].mean(0)) / 0.01
        # Of 2 rows of D standard normal numbers: the mean deviates by 1/√(2D), the deviation by 1/√(4D).
        assert abs(noise.mean().item()) < 4 / noise.numel() ** 0.5
        assert abs(noise.std().item() - 1) < 4 / (2 * noise.numel()) ** 0.5
        assert (noise[0] - noise[1]).abs().max() > 0.5
        assert torch.equal(now[: min(new)], old[: min(new)])
        assert torch.equal(now, same)
