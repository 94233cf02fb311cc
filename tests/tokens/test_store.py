from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings

from heedful.tokens.store import META, TokenStore
from heedful.types import Example, Message, Response, RunError
from tests.tokens.makers import blank_example, encoded, encoded_examples, store_of


def test_two_examples_by_hand(tmp_path):
    pair = encoded([1, 2, 3], ([4, 5], [True, True]), ([6, 7, 8], [False, True, True]))
    single = encoded([9], ([10, 2], [False, True]))
    store = store_of(tmp_path / "s", [pair, single])
    assert (store.num_examples, store.num_responses) == (2, 3)
    assert store.example_responses.tolist() == [0, 2, 3]
    assert store.example_lengths.tolist() == [3 + 2 + 3, 1 + 2]
    assert store.trained_offsets.tolist() == [0, 2, 4, 5]
    assert [store.example_of(r) for r in range(3)] == [0, 0, 1]
    assert store.origin(1) == "row 1"


def test_columns_hold_labels_and_nan_where_nobody_judged(tmp_path):
    example = Example(
        [Message("user", "q")],
        [
            Response([Message("assistant", "a")], reward=1.5, desirable=True, safe=False),
            Response([Message("assistant", "b")], cost=-2.0, extra={"mismatched": True}),
        ],
        better=1,
        margin=0.25,
    )
    item = encoded([1], ([2], [True]), ([3], [True]))
    columns = TokenStore.write(tmp_path / "s", [item], [example]).columns
    assert columns["reward"][0] == 1.5
    assert math.isnan(columns["reward"][1])
    assert columns["desirable"][0] == 1.0
    assert columns["safe"][0] == 0.0
    assert columns["cost"][1] == -2.0
    assert columns["chosen"].tolist() == [0.0, 1.0]
    assert columns["margin"].tolist() == [0.25, 0.25]
    assert columns["mismatched"].tolist() == [0.0, 1.0]
    assert np.isnan(columns["rank"]).all()
    assert columns["reward"].dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(items=encoded_examples(min_size=0))
def test_round_trip(items, tmp_path_factory):
    store = store_of(tmp_path_factory.mktemp("store") / "s", items)
    assert store.num_examples == len(items)
    r = 0
    for e, item in enumerate(items):
        assert store.prompt_tokens(e).tolist() == item.prompt_ids.tolist()
        for response in item.responses:
            assert store.response_tokens(r).tolist() == response.ids.tolist()
            assert store.response_trained(r).tolist() == response.trained.tolist()
            assert store.trained_offsets[r + 1] - store.trained_offsets[r] == response.trained.sum()
            r += 1
    assert store.num_responses == r


def test_digest_and_keys_follow_the_content_alone(tmp_path):
    def item(mask=True, token=3):
        return encoded([1, 2], ([token, 4], [mask, True]))

    first = store_of(tmp_path / "a", [item()])
    again = TokenStore.write(tmp_path / "b", [item()], [blank_example(1, "from elsewhere")])
    assert first.digest == again.digest
    assert first.response_key(0) == again.response_key(0)
    for i, other in enumerate((item(mask=False), item(token=5), encoded([1], ([2, 3, 4], [True, True, True])))):
        store = store_of(tmp_path / f"other{i}", [other])
        assert store.digest != first.digest
        assert store.response_key(0) != first.response_key(0)


def test_the_key_of_a_response_does_not_depend_on_its_neighbours(tmp_path):
    wanted = encoded([1, 2], ([3, 4], [True, True]))
    alone = store_of(tmp_path / "a", [wanted])
    among = store_of(tmp_path / "b", [encoded([7], ([8], [True])), wanted])
    assert among.response_key(1) == alone.response_key(0)
    assert len(alone.response_key(0)) == 16


def test_a_failed_write_leaves_nothing(tmp_path):
    def broken():
        yield encoded([1], ([2], [True]))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TokenStore.write(tmp_path / "s", broken(), [blank_example(1)])
    assert os.listdir(tmp_path) == []


def test_the_slower_of_two_writers_takes_the_faster_ones_folder(tmp_path):
    first = store_of(tmp_path / "s", [encoded([1], ([2], [True]))])
    second = store_of(tmp_path / "s", [encoded([1], ([2], [True]))])
    assert second.digest == first.digest
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("damage", ["no meta", "old version", "short file"])
def test_a_damaged_store_is_refused(tmp_path, damage):
    path = store_of(tmp_path / "s", [encoded([1, 2, 3], ([2], [True]))]).path
    if damage == "no meta":
        (path / META).unlink()
    elif damage == "old version":
        (path / META).write_text(json.dumps({"version": 0}))
    else:
        (path / "prompt_ids.bin").write_bytes(b"")
    with pytest.raises(RunError, match="delete"):
        TokenStore.open(path)
