"""The reference cache: computed once, found by content, verified, never stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from heedful.models.batch import to_tensors
from heedful.tokens.encoded import EncodedResponse
from heedful.tokens.packs import build_pack
from heedful.tokens.show import from_store
from heedful.tokens.store import TokenStore
from heedful.training.reference import ReferenceCache, reference_logps
from heedful.training.world import World
from heedful.types import Example, Response
from tests.training.helpers import random_store, small_model

ALONE = World(0, 1, torch.device("cpu"), "single")


class Counting(torch.nn.Module):
    """A model that counts its forwards."""

    def __init__(self, model):
        super().__init__()
        self.model, self.tokens = model, 0

    def forward(self, pack, wants):
        self.tokens += len(pack.ids)
        return self.model(pack, wants)


def test_computed_once_and_equal_to_a_plain_forward(tmp_path):
    store, model = random_store(tmp_path / "store"), Counting(small_model())
    column = reference_logps(store, model, "digest", tmp_path / "cache", ALONE)
    assert model.tokens == store.example_lengths.sum()
    for example in range(store.num_examples):
        pack = build_pack(store, [example])
        with torch.no_grad():
            logps = model.model(to_tensors(pack), {"logps"})["logps"].numpy()
        at = [np.arange(store.trained_offsets[r], store.trained_offsets[r + 1]) for r in pack.response_rows]
        np.testing.assert_allclose(column[np.concatenate(at)], logps, atol=1e-5)

    model.tokens = 0
    again = reference_logps(store, model, "digest", tmp_path / "cache", ALONE)
    assert np.array_equal(again, column)
    assert 0 < model.tokens < store.example_lengths.sum()  # the sample that is verified


def test_a_store_that_shares_responses_shares_entries(tmp_path):
    """The same tokens in another store (other labels, other examples beside them) are not computed again."""
    model = Counting(small_model())
    plain = random_store(tmp_path / "a")
    column = reference_logps(plain, model, "digest", tmp_path / "cache", ALONE)
    model.tokens = 0
    other = random_store(tmp_path / "b", num_examples=8)  # the first six are drawn from the same numbers
    both = reference_logps(other, model, "digest", tmp_path / "cache", ALONE)
    np.testing.assert_array_equal(both[: len(column)], column)
    assert model.tokens <= other.example_lengths[6:].sum() + other.example_lengths[:6].sum() * 4 // 6 + 60


def test_an_entry_keeps_the_bits_it_was_first_given(tmp_path):
    """A response that is computed again beside a new one stays as it was, so that a resumed run finds what it had."""
    model = small_model()
    plain, more = random_store(tmp_path / "a"), with_one_response_more(random_store(tmp_path / "a2"), tmp_path / "b")
    column = reference_logps(plain, model, "digest", tmp_path / "cache", ALONE)
    reference_logps(more, model, "digest", tmp_path / "cache", ALONE)
    shards = list((tmp_path / "cache" / "reference" / "digest").glob("*.npz"))
    stored = [key.tobytes() for path in shards for key in np.load(path)["keys"]]
    assert len(shards) == 2
    assert len(stored) == len(set(stored)) == more.num_responses
    assert np.array_equal(reference_logps(plain, model, "digest", tmp_path / "cache", ALONE), column)


def with_one_response_more(store: TokenStore, path: Path) -> TokenStore:
    encoded, examples = [], []
    for e in range(store.num_examples):
        item = from_store(store, e)
        extra = np.array([5, 4, 3 + e], np.int32)
        item.responses.append(EncodedResponse(extra, np.ones(3, bool)))
        encoded.append(item)
        examples.append(Example([], [Response([]) for _ in item.responses]))
    return TokenStore.write(path, encoded, examples)


def test_another_model_is_another_cache(tmp_path):
    store = random_store(tmp_path / "store")
    one = reference_logps(store, small_model(seed=0), "one", tmp_path / "cache", ALONE)
    other = reference_logps(store, small_model(seed=0).double().float(), "other", tmp_path / "cache", ALONE)
    assert {p.name for p in (tmp_path / "cache" / "reference").iterdir()} == {"one", "other"}
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_an_entry_that_is_not_true_any_more_is_found_out(tmp_path):
    store, model = random_store(tmp_path / "store"), small_model()
    column = reference_logps(store, model, "digest", tmp_path / "cache", ALONE)
    cache = ReferenceCache(tmp_path / "cache" / "reference" / "digest")
    wrong = {key: value + 1.0 for key, value in cache.entries.items()}
    cache.clear()
    cache.add(wrong)
    said: list[str] = []
    again = reference_logps(store, model, "digest", tmp_path / "cache", ALONE, said.append)
    assert np.array_equal(again, column)
    assert any("differs" in line for line in said)
    assert np.array_equal(reference_logps(store, model, "digest", tmp_path / "cache", ALONE), column)


def test_what_was_stored_first_stays_for_everyone(tmp_path):
    """A response beside others, or computed by two runs at once, may differ in its last bits: one value must hold."""
    model = small_model()
    plain = random_store(tmp_path / "plain")
    reference_logps(plain, model, "digest", tmp_path / "cache", ALONE)
    folder = tmp_path / "cache" / "reference" / "digest"
    first = ReferenceCache(folder).entries
    late = ReferenceCache(folder)
    late.add({key: value + 1e-6 for key, value in first.items()})
    for cache in (late, ReferenceCache(folder)):
        assert all(np.array_equal(cache.entries[key], value) for key, value in first.items())
    column = reference_logps(random_store(tmp_path / "more", 8), model, "digest", tmp_path / "cache", ALONE)
    again = reference_logps(random_store(tmp_path / "again", 8), model, "digest", tmp_path / "cache", ALONE)
    assert np.array_equal(column, again)
