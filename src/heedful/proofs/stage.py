"""What invariances are tried on: tiny models with random weights, and random data, made when first asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from heedful.models import attention
from heedful.models.quiet import quiet
from heedful.models.wrapper import PackedModel
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs, unweightable
from heedful.objectives.views import OUTPUTS, Lists
from heedful.proofs.verdict import Arithmetic
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.store import TokenStore
from heedful.training.batches import DataSource
from heedful.training.live_reference import LiveReference
from heedful.types import Example, Message, Response

VOCABULARY, WIDTH, NUM_EXAMPLES = 64, 64, 6
PAIRS, LISTS = (2,) * NUM_EXAMPLES, (2, 3, 4, 2, 3, 2)
"""Responses of each prompt."""


class Stage:
    """Models and data for one arithmetic; data lie in `folder`."""

    def __init__(self, folder: Path, arithmetic: Arithmetic) -> None:
        self.folder, self.arithmetic = folder, arithmetic
        self._models: dict[tuple[bool, bool, bool, bool], PackedModel] = {}
        self._references: dict[bool, PackedModel] = {}
        self._sources: dict[tuple[int, ...], DataSource] = {}

    def model(self, objective: Objective, *, packed: bool = True) -> PackedModel:
        """The model the objective trains; with `packed` false the same weights, reading padded batches."""
        read = needs(objective)
        key = ("scores" in read, "values" in read, "foretold" in read, packed)
        if key not in self._models:
            scores, values, foretold, _ = key
            self._models[key] = tiny_model(
                self.arithmetic, scores=scores, values=values, foretold=foretold, packed=packed
            )
        return self._models[key]

    def reference(self, objective: Objective, *, packed: bool = True) -> LiveReference | None:
        """Another model that runs beside the one that is trained, where the objective asks for a divergence."""
        read = needs(objective)
        if "kl" not in read:
            return None
        if packed not in self._references:
            self._references[packed] = tiny_model(self.arithmetic, packed=packed, seed=1)
        wants = frozenset(name for column, name in (("ref_logps", "logps"), ("kl", "states")) if column in read)
        policy = self.model(objective, packed=packed)
        return LiveReference(self._references[packed], contextlib.nullcontext, policy, wants, {}, None)

    def source(self, objective: Objective) -> DataSource:
        """Data with the responses and columns that the objective looks at."""
        sizes = LISTS if issubclass(objective.view, Lists) else PAIRS
        mismatched, weights = bool(objective.statistics), unweightable(objective) is None
        key = (*sizes, mismatched, weights)
        if key not in self._sources:
            data = random_data(sizes, mismatched=mismatched, weights=weights)
            store = TokenStore.write(self.folder / f"store-{len(self._sources)}", *data)
            self._sources[key] = self._with_columns(store, mismatched)
        source = self._sources[key]
        for name in needs(objective) - OUTPUTS - source.token_columns.keys():
            column = source.store.columns.get(name)
            if column is None or np.isnan(column).all():
                source.store.columns[name] = _random(source.store.num_responses, seed=2)
        return source

    def _with_columns(self, store: TokenStore, mismatched: bool) -> DataSource:
        references = -2.0 - 4.0 * np.abs(_random(int(store.trained_offsets[-1]), seed=1))
        scores = np.abs(_random(int(store.trained_offsets[-1]), seed=3))
        columns = {"ref_logps": references, "token_scores": scores}
        return DataSource(store, columns, mismatched, self.arithmetic.device)


def tiny_model(
    arithmetic: Arithmetic,
    *,
    scores: bool = False,
    values: bool = False,
    foretold: bool = False,
    packed: bool = True,
    seed: int = 0,
) -> PackedModel:
    """A Llama of two layers; equal arguments give equal weights, whether it reads packs or padded batches."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

    attention.register()
    labels: dict[str, Any] = {"num_labels": 1} if scores else {}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        **labels,
    )
    kind: Any = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        inner = kind.from_config(config, attn_implementation=attention.NAME if packed else "sdpa").eval()
        head = nn.Linear(WIDTH, 1) if values else None
        reward_head = nn.Linear(WIDTH, 1, bias=False) if foretold else None
    half = torch.bfloat16 if arithmetic.precision == "bf16" else None
    model = PackedModel(inner, packed=packed, compute_dtype=half, value_head=head, reward_head=reward_head)
    return model.to(arithmetic.device, arithmetic.dtype)


def random_data(
    sizes: tuple[int, ...], *, mismatched: bool, weights: bool
) -> tuple[list[EncodedExample], list[Example]]:
    """Random tokens, `sizes[e]` responses to prompt e: the first is the best, each has every label.

    mismatched: whether an answer to another prompt comes last, as unpaired objectives ask for.  weights: whether
    responses count differently.
    """
    rng = np.random.default_rng(0)

    def ids(low: int, high: int) -> np.ndarray:
        return rng.integers(3, VOCABULARY, rng.integers(low, high)).astype(np.int32)

    encoded, examples = [], []
    for row, size in enumerate(sizes):
        responses = [_labelled(k, float(rng.uniform(0.1, 0.9)), weights) for k in range(size)]
        if mismatched:
            responses.append(Response([Message("assistant", "x")], extra={"mismatched": True}))
        pieces = [EncodedResponse(tokens, np.ones(len(tokens), bool)) for tokens in (ids(1, 9) for _ in responses)]
        encoded.append(EncodedExample(ids(2, 12), pieces, row=row))
        examples.append(Example([Message("user", f"prompt {row}")], responses, better=0, margin=0.5))
    return encoded, examples


def _labelled(k: int, luck: float, weights: bool) -> Response:
    labels: dict[str, Any] = {"reward": luck - k, "cost": k - luck, "desirable": k == 0, "safe": k == 0, "rank": k + 1}
    return Response([Message("assistant", "x")], weight=0.5 + luck if weights else None, **labels)


def _random(num: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(num).astype(np.float32)
