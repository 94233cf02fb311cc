from __future__ import annotations

import numpy as np
import pytest
import torch

from heedful.scorers.text_model import TOKENS_PER_BATCH, TextModel, similar
from heedful.types import UserError


class Letters:
    """A tokenizer whose tokens are the letters a to z."""

    truncation_side = "right"

    def __call__(self, texts, seconds, *, truncation=False, max_length=None, **settings):
        rows = [[ord(letter) - 96 for letter in text if "a" <= letter <= "z"] for text in texts]
        if truncation:
            rows = [row[:max_length] if self.truncation_side == "right" else row[-max_length:] for row in rows]
        return {"input_ids": rows}


def summed(inputs):
    """The sum of a text's tokens, of its padding too, and how many columns are its own."""
    return torch.stack([inputs["input_ids"].sum(1), inputs["attention_mask"].sum(1)], 1)


def test_texts_come_back_in_their_order_with_padding_masked():
    model = TextModel(Letters(), summed, 3, "beginning", 0, "cpu")
    assert model(["abc", "b", "ab"]).tolist() == [[6, 3], [2, 1], [3, 2]]
    assert model([]).shape == (0, 1)
    assert model.note() == ""


@pytest.mark.parametrize(("keeps", "wanted", "lost"), [("beginning", 6, "end"), ("end", 12, "beginning")])
def test_a_text_that_is_too_long_is_cut_where_it_is_said(keeps, wanted, lost):
    model = TextModel(Letters(), summed, 3, keeps, 0, "cpu")
    assert model(["abcde", "a"]).tolist() == [[wanted, 3], [1, 1]]
    model(["abcd", "abc"])
    assert model.note() == f"2 of 4 texts were longer than 3 tokens and lost their {lost}"


def test_a_text_without_a_token_is_refused():
    with pytest.raises(UserError, match="no token"):
        TextModel(Letters(), summed, 3, "end", 0, "cpu")(["a", "…"])


def test_batches_hold_every_text_once_and_are_bounded():
    lengths = np.random.default_rng(0).integers(1, TOKENS_PER_BATCH // 3, 200).tolist()
    batches = list(similar([*lengths, 2 * TOKENS_PER_BATCH]))
    assert sorted(row for batch in batches for row in batch) == list(range(201))
    assert batches[-1] == [200]  # one that is longer than a batch may be stands alone
    for batch in batches[:-1]:
        assert len(batch) * max(lengths[row] for row in batch) <= TOKENS_PER_BATCH
