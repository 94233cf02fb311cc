from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.models import load_policy, load_tokenizer, new_model, to_tensors
from heedful.models.new_model import train_tokenizer
from heedful.types import UserError
from tests.models.packs import make_pack

CODE = [Path(__file__).read_text(), "def f(x):\n    if x:\n        return 1\n\n    return 2\n" * 20]
SMALL = {"vocab_size": 400, "hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "max_length": 128}


def test_it_loads_and_reads_packs(tmp_path: Path):
    loaded = load_policy(str(new_model(tmp_path / "m", CODE, **SMALL, seed=1)))
    assert loaded.packed
    assert loaded.max_length == 128
    assert loaded.tokenizer.pad_token_id != loaded.tokenizer.eos_token_id
    assert loaded.model(to_tensors(make_pack(vocab_size=258)), {"logps"})["logps"].shape == (39,)


def test_the_same_settings_give_the_same_bytes(tmp_path: Path):
    folders = [new_model(tmp_path / name, CODE, **SMALL, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    a, b, c = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert a == b
    assert a != c
    assert (folders[0] / "tokenizer.json").read_bytes() == (folders[2] / "tokenizer.json").read_bytes()


def test_a_newline_shares_a_token_with_nothing(tmp_path: Path):
    tokenizer = load_tokenizer(str(new_model(tmp_path / "m", CODE, **SMALL)))
    pieces = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    assert [piece for piece in pieces if "\n" in piece] == ["\n"]
    # Four spaces before a word: what is left of the indentation, then a space that goes with the word or alone.
    ids = tokenizer("\n        return").input_ids
    assert tokenizer.decode(ids[:1]) == "\n"
    assert len(ids) <= 5


def test_without_isolation_it_may():
    tokenizer = train_tokenizer(CODE, 400, newline_isolating=False, max_length=64)
    assert any("\n " in tokenizer.decode([token]) for token in range(len(tokenizer)))


@given(st.text())
def test_decoding_gives_back_what_was_encoded(text: str):
    tokenizer = _tokenizer()
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def _tokenizer(kept: list = []):  # noqa: B006 (trained once)
    if not kept:
        kept.append(train_tokenizer(CODE, 400, max_length=64))
    return kept[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocab_size": 100}, "vocab_size=100"),
        ({"hidden_size": 30}, "hidden_size=30"),
        ({"kv_heads": 3}, "kv_heads=3"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict, words: str, tmp_path: Path):
    with pytest.raises(UserError, match=words):
        new_model(tmp_path / "m", CODE, **SMALL | change)
    assert not (tmp_path / "m").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not empty"):
        new_model(tmp_path, CODE, **SMALL)
    with pytest.raises(UserError, match="is a file"):
        new_model(tmp_path / "file", CODE, **SMALL)
