"""Small stores, sources and models for the loop's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from heedful.models import attention
from heedful.models.wrapper import PackedModel
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.store import TokenStore
from heedful.training.batches import DataSource
from heedful.types import Example, Message, Response
from tests.fakes import tiny_model

VOCABULARY = 64


def random_store(path: Path, num_examples: int = 6, *, mismatched: bool = False, seed: int = 0) -> TokenStore:
    """Pairs of random tokens; the chosen is desirable; with `mismatched`, a third response that is neither."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> np.ndarray:
        return rng.integers(3, VOCABULARY, rng.integers(low, high)).astype(np.int32)

    encoded, examples = [], []
    for row in range(num_examples):
        responses = [Response([Message("assistant", "x")], desirable=k == 0, reward=float(1 - k)) for k in range(2)]
        if mismatched:
            responses.append(Response([Message("assistant", "x")], extra={"mismatched": True}))
        pieces = []
        for _ in responses:
            tokens = ids(1, 9)
            pieces.append(EncodedResponse(tokens, np.ones(len(tokens), bool)))
        examples.append(Example([Message("user", f"prompt {row}")], responses, better=0, margin=0.5))
        encoded.append(EncodedExample(ids(2, 12), pieces, row=row))
    return TokenStore.write(path, encoded, examples)


def source_of(store: TokenStore, *, mismatched: bool = False, seed: int = 1) -> DataSource:
    """The store with made-up reference log-probabilities."""
    rng = np.random.default_rng(seed)
    column = -rng.uniform(2.0, 6.0, int(store.trained_offsets[-1])).astype(np.float32)
    return DataSource(store, {"ref_logps": column}, mismatched, torch.device("cpu"))


def small_model(kind: str = "lm", *, seed: int = 0) -> PackedModel:
    """A tiny Llama in float32, in eval mode."""
    torch.manual_seed(seed)
    inner = tiny_model("llama", vocab_size=VOCABULARY, score=kind == "score")
    attention.register()
    inner.set_attn_implementation(attention.NAME)
    return PackedModel(inner.eval())
