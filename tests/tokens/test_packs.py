from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.tokens.packs import build_pack
from tests.tokens.makers import encoded, encoded_examples, store_of


def test_one_pair_by_hand(tmp_path):
    # flat: prompt 0 1 2 | first response 3 4 | second response 5 6 7
    pair = encoded([11, 12, 13], ([21, 22], [True, True]), ([31, 32, 33], [False, True, True]))
    pack = build_pack(store_of(tmp_path / "s", [pair]), [0])
    assert pack.ids.tolist() == [11, 12, 13, 21, 22, 31, 32, 33]
    assert pack.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert pack.tree_starts.tolist() == [0, 8]
    assert pack.prompt_lengths.tolist() == [3]
    assert pack.response_starts.tolist() == [3, 5]
    assert pack.response_ends.tolist() == [5, 8]
    # 21 follows the prompt's last token (2), 22 follows 21 (3), 32 follows 31 (5), 33 follows 32 (6)
    assert pack.targets.tolist() == [3, 4, 6, 7]
    assert pack.sources.tolist() == [2, 3, 5, 6]
    assert pack.response_of.tolist() == [0, 0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(items=encoded_examples(), data=st.data())
def test_against_a_loop(items, data, tmp_path_factory):
    store = store_of(tmp_path_factory.mktemp("packs") / "s", items)
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=5))
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=store.num_responses, max_size=store.num_responses)))
    kept = [[r for r in range(store.example_responses[e], store.example_responses[e + 1]) if keep[r]] for e in rows]
    if not any(kept):
        with pytest.raises(ValueError):
            build_pack(store, rows, keep=keep)
        return
    pack = build_pack(store, rows, keep=keep)

    ids, positions, targets, sources, response_of, starts, ends, trees = [], [], [], [], [], [], [], []
    tree_starts, example_rows = [0], []
    for e, responses in zip(rows, kept, strict=True):
        if not responses:
            continue
        prompt = store.prompt_tokens(e).tolist()
        last_of_prompt = len(ids) + len(prompt) - 1
        ids += prompt
        positions += range(len(prompt))
        for r in responses:
            starts.append(len(ids))
            for j, (token, trained) in enumerate(zip(store.response_tokens(r), store.response_trained(r), strict=True)):
                if trained:
                    targets.append(len(ids))
                    sources.append(len(ids) - 1 if j else last_of_prompt)
                    response_of.append(len(trees))
                ids.append(token)
                positions.append(len(prompt) + j)
            ends.append(len(ids))
            trees.append(len(example_rows))
        tree_starts.append(len(ids))
        example_rows.append(e)
    assert pack.ids.tolist() == ids
    assert pack.positions.tolist() == positions
    assert pack.tree_starts.tolist() == tree_starts
    assert pack.targets.tolist() == targets
    assert pack.sources.tolist() == sources
    assert pack.response_of.tolist() == response_of
    assert pack.response_starts.tolist() == starts
    assert pack.response_ends.tolist() == ends
    assert pack.response_tree.tolist() == trees
    assert pack.example_rows.tolist() == example_rows
    assert pack.response_rows.tolist() == [r for responses in kept for r in responses]


def test_leaving_the_mismatched_answers_out(tmp_path):
    store = store_of(tmp_path / "s", [encoded([1, 2], ([3], [True]), ([4, 5], [True, True]))])
    pack = build_pack(store, [0], keep=np.array([True, False]))
    assert pack.ids.tolist() == [1, 2, 3]
    assert pack.response_rows.tolist() == [0]
