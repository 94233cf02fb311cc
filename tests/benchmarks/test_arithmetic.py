"""The benchmark's arithmetic, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from benchmarks.bare_side import full_rows
from benchmarks.contest import Effort, ratios
from benchmarks.corpus import ANSWER_WORDS, fitting, from_deciles, made_pairs, make_tokenizer
from benchmarks.summary import per_unit, ratio, spread, summarise


def test_a_ratio_is_of_medians():
    # Medians 2 and 8; the mean of the pairwise ratios would be something else.
    samples = {"a": [1.0, 2.0, 30.0], "b": [8.0, 7.0, 100.0]}
    assert ratio(samples, "b", "a") == 4.0
    assert spread(samples["a"]) == 30.0
    assert summarise(samples)["median_s"] == {"a": 2.0, "b": 8.0}


def test_time_per_unit_of_linear_and_of_quadratic_work():
    assert per_unit({2: [2.0], 4: [4.0, 4.0], 8: [8.0]}) == {2: 1.0, 4: 1.0, 8: 1.0}
    assert per_unit({8: [64.0], 1: [1.0], 2: [4.0]}) == {1: 1.0, 2: 2.0, 8: 8.0}


def test_the_reference_pass_counts_on_both_sides_and_trl_may_choose_its_way():
    samples = {
        "heedful": [2.0], "bare": [2.0], "heedful_cold": [3.0], "trl": [10.0], "trl_cold": [15.0], "trl_default": [18.0]
    }  # fmt: skip
    assert ratios(samples) == {
        "heedful/bare": 1.0,
        "trl/heedful": 5.0,
        "trl_cold/heedful_cold": 5.0,
        "trl_default/heedful": 9.0,
        "trl_default/heedful_cold": 6.0,
    }
    assert ratios({name: samples[name] for name in ("heedful", "bare", "trl")}) == {
        "heedful/bare": 1.0,
        "trl/heedful": 5.0,
    }


def test_rounds_are_at_least_what_was_asked():
    assert list(Effort(pairs=1, rounds=3, budget_s=0.0).each()) == [0, 1, 2]


def test_full_rows_hold_the_tokens_in_few_equal_rows():
    # 1,200 tokens in rows of at most 512: three of 400.  The head reads as many positions as were asked for.
    batch = full_rows(torch.arange(1200), 300, width=512)
    assert batch.ids.shape == (3, 400)
    assert torch.equal(batch.ids.flatten(), torch.arange(1200))
    assert len(batch.positions) == len(batch.targets) == 300
    assert batch.positions.unique().numel() == 300
    assert int(batch.targets[0]) == 1
    # One token of 1,025 does not fit three equal rows... 1,025 = 3 x 341 + 2: two are dropped.
    assert full_rows(torch.arange(1025), 10, width=512).ids.shape == (3, 341)


def test_made_text_has_the_profile_it_was_given():
    assert from_deciles((0, 10, 20), 0.0) == 0
    assert from_deciles((0, 10, 20), 0.25) == 5
    assert from_deciles((0, 10, 20), 0.75) == 15
    words = sorted(len(pair["chosen"][0]["content"].split()) for pair in made_pairs(400))
    assert words[200] == pytest.approx(ANSWER_WORDS[5], abs=6)
    assert made_pairs(3) == made_pairs(3)
    assert {pair["prompt"][0]["role"] for pair in made_pairs(20)} == {"user"}


def test_only_pairs_that_fit_are_taken():
    pairs = made_pairs(60)
    tokenizer = make_tokenizer(turn["content"] for pair in pairs for part in pair.values() for turn in part)
    kept = fitting(pairs, tokenizer, limit=100)
    assert 0 < len(kept) < 60
    longest = [
        max(len(tokenizer.apply_chat_template(p["prompt"] + p[side], return_dict=True)["input_ids"])
            for side in ("chosen", "rejected"))
        for p in pairs
    ]  # fmt: skip
    assert kept == [pair for pair, length in zip(pairs, longest, strict=True) if length <= 100]
