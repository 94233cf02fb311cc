from __future__ import annotations

import pytest
import torch

from heedful.models import load_policy, save, to_tensors
from heedful.models.padded import PairFrame, to_rows
from heedful.types import UserError
from tests.fakes import END, PAD, save_tiny_model, tiny_tokenizer
from tests.models.packs import make_pack, rows_of


def test_rows_are_prompt_and_response_with_padding_at_the_end():
    pack = to_tensors(make_pack([(2, (2, 1)), (1, (1,))]))
    a, b, c, d, e, f, g = pack.ids.tolist()
    rows = to_rows(pack, 0)
    assert rows.ids.tolist() == [[a, b, c, d], [a, b, e, 0], [f, g, 0, 0]]
    assert rows.mask.int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    # Flattened cells: c, d are predicted in row 0 at columns 1, 2; e in row 1 at column 1; g in row 2 at column 0.
    assert rows.sources.tolist() == [1, 2, 5, 8]
    assert rows.last.tolist() == [3, 6, 9]


def _roberta_tokenizer():
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    ids = [(END, 0), (PAD, 1)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END} $A {END}", pair=f"{END} $A {END} {END} $B:1 {END}:1", special_tokens=ids
    )
    tokenizer.cls_token = tokenizer.sep_token = END
    return tokenizer


@pytest.mark.parametrize(("num_types", "types"), [(1, (0, 0)), (2, (0, 1))])
def test_the_frame_of_a_pair_is_the_tokenizers_own(num_types: int, types: tuple[int, int]):
    assert PairFrame.of(_roberta_tokenizer(), num_types) == PairFrame((0,), (0, 0), (0,), types)


def test_an_encoder_scores_pairs_as_the_plain_classifier_does(tmp_path):
    from transformers import AutoModelForSequenceClassification

    tokenizer = _roberta_tokenizer()
    save_tiny_model(tmp_path / "m", "roberta", tokenizer=tokenizer, score=True)
    loaded = load_policy(str(tmp_path / "m"), kind="score")
    assert not loaded.packed
    assert "encoder" in loaded.note
    assert loaded.max_length == 512 - 2 - 4, "RoBERTa's first position is 2; four special tokens frame a pair"
    pack = make_pack(vocab_size=300)
    got = loaded.model(to_tensors(pack), {"scores"})["scores"]
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    wanted = []
    for ids, prompt in rows_of(pack):
        pair = [0, *ids[:prompt].tolist(), 0, 0, *ids[prompt:].tolist(), 0]
        wanted.append(plain(torch.tensor([pair])).logits[0, 0])
    assert torch.allclose(got, torch.stack(wanted), atol=1e-5)
    got.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in loaded.model.parameters())
    save(loaded.model, tokenizer, tmp_path / "out")
    again = load_policy(str(tmp_path / "out"), kind="score").model
    assert torch.allclose(again(to_tensors(pack), {"scores"})["scores"], got, atol=1e-6)


def test_an_encoder_is_no_language_model(tmp_path):
    save_tiny_model(tmp_path / "m", "roberta")
    with pytest.raises(UserError, match="looks ahead"):
        load_policy(str(tmp_path / "m"))
