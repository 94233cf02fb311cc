"""Can this model read packs?  Asked of the model itself, at load, because some go wrong in silence.

A two-layer copy of the config with random weights, a tiny sliding window and strong soft-caps is run packed and plain;
then the real weights are.  A model that disagrees is tried on padded batches; one that disagrees there too cannot be
trained here.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from heedful.models import attention
from heedful.models.batch import to_tensors
from heedful.models.heads import score_head, silence_config
from heedful.models.quiet import quiet
from heedful.models.wrapper import PackedModel
from heedful.tokens.packs import Pack
from heedful.types import UserError

TREES = ((6, (9, 1, 5)), (3, (4,)), (11, (2, 7)))
"""Prompt and response lengths of the pack that is tried."""

TOLERANCE = 1e-3
"""Nats, in float32.  Wrong masks, positions, windows or caps are off by hundredths and more."""

WINDOW, SOFTCAP, VOCABULARY = 4, 1.0, 64


class Verdict(NamedTuple):
    packed: bool
    note: str


def probe(model: Any, kind: str) -> Verdict:
    """Whether `model` (a Transformers model, dropout off) reads packs; sets its attention implementation accordingly.

    kind: `lm` or `score`.  Raises UserError for a model that looks ahead or whose logits are made in an unknown way.
    """
    usual = model.config._attn_implementation
    tiny = _miniature(model)
    trouble = "its config does not make a small copy" if tiny is None else None
    if tiny is not None:
        trouble = _disagreement(tiny, kind, packed=True)
    trouble = trouble or _disagreement(model, kind, packed=True)
    if trouble is None:
        model.set_attn_implementation(attention.NAME)
        return Verdict(True, "reads packs")
    model.set_attn_implementation(usual)
    check_padded(model, kind)
    return Verdict(False, f"reads padded batches, which is slower: {trouble}")


def check_padded(model: Any, kind: str) -> None:
    """Raise UserError unless padded batches give what the plain model gives, and the model never looks ahead."""
    trouble = _disagreement(model, kind, packed=False)
    if trouble is not None:
        raise UserError(f"{type(model).__name__} cannot be trained: {trouble}")


def _disagreement(model: Any, kind: str, *, packed: bool) -> str | None:
    """What is wrong with the packed (or padded) forward of this model; None if it gives what the plain one does."""
    pack, rows = _sample_pack(_vocabulary(model))
    usual = model.config._attn_implementation
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), quiet(), torch.random.fork_rng(devices=[]):
            with _implementation(model, "eager" if packed else usual):
                wanted = _plain(model, rows, kind)
            with _implementation(model, attention.NAME if packed else usual):
                if packed and model.config._attn_implementation != attention.NAME:
                    return "its attention cannot be replaced"
                want = "scores" if kind == "score" else "logps"
                got = PackedModel(model, packed=packed)(to_tensors(pack, model.device), {want})[want]
    except UserError:
        raise
    except Exception as error:  # Any failure of foreign code means the same: this way is closed.
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    finally:
        model.train(training)
    error = float((got - wanted).abs().max() / max(1.0, float(wanted.abs().max()) if kind == "score" else 1.0))
    return None if error <= TOLERANCE else f"its results differ from the plain model's by {error:.1g}"


@contextmanager
def _implementation(model: Any, name: str):
    before = model.config._attn_implementation
    if name != before:
        model.set_attn_implementation(name)
    try:
        yield
    finally:
        if model.config._attn_implementation != before:
            model.set_attn_implementation(before)


def _plain(model: Any, rows: list[tuple[list[int], int]], kind: str) -> Tensor:
    """What the model as it comes gives, row by row: log-probabilities of the responses, or scores."""
    found = []
    for ids, prompt in rows:
        row = torch.tensor([ids], device=model.device)
        logits = model(input_ids=row, use_cache=False).logits
        if kind == "score":
            found.append(logits[0].float())
            continue
        ahead = model(input_ids=row[:, :-1], use_cache=False).logits
        if not torch.allclose(ahead[0], logits[0, :-1], atol=1e-3, rtol=1e-3):
            raise UserError(f"{type(model).__name__} looks ahead of the token it predicts, so it is no language model")
        logps = logits[0, prompt - 1 : -1].float().log_softmax(-1)
        found.append(logps.gather(1, row[0, prompt:, None])[:, 0])
    return torch.cat(found)


def _sample_pack(vocabulary: int) -> tuple[Pack, list[tuple[list[int], int]]]:
    """A small pack with random tokens, and its rows as (ids, prompt length)."""
    random = np.random.default_rng(0)
    ids, positions, rows = [], [], []
    tree_starts, spans, tree_of, sources = [0], [], [], []
    for tree, (prompt, lengths) in enumerate(TREES):
        start = len(ids)
        # The lowest ids are where special tokens live; a padding token would be masked by some models.
        ids += random.integers(vocabulary // 2, vocabulary, prompt).tolist()
        positions += range(prompt)
        for length in lengths:
            begin = len(ids)
            ids += random.integers(vocabulary // 2, vocabulary, length).tolist()
            positions += range(prompt, prompt + length)
            spans.append((begin, begin + length))
            tree_of.append(tree)
            sources += [start + prompt - 1, *range(begin, begin + length - 1)]
            rows.append((ids[start : start + prompt] + ids[begin:], prompt))
        tree_starts.append(len(ids))
    pack = Pack(
        ids=np.array(ids),
        positions=np.array(positions),
        tree_starts=np.array(tree_starts),
        prompt_lengths=np.array([prompt for prompt, _ in TREES]),
        response_starts=np.array([start for start, _ in spans]),
        response_ends=np.array([end for _, end in spans]),
        response_tree=np.array(tree_of),
        targets=np.array([token for span in spans for token in range(*span)]),
        sources=np.array(sources),
        response_of=np.array([b for b, span in enumerate(spans) for _ in range(*span)]),
        example_rows=np.arange(len(TREES)),
        response_rows=np.arange(len(spans)),
    )
    return pack, rows


def _vocabulary(model: Any) -> int:
    return model.get_input_embeddings().weight.shape[0]


def _miniature(model: Any) -> Any:
    """Two layers (one of each kind) of the model's config, float32 on the CPU, random weights; None if it has none."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    kinds = list(dict.fromkeys(getattr(text, "layer_types", None) or []))
    settings = {
        "num_hidden_layers": max(2, len(kinds)),
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "sliding_window": WINDOW,
        "window_size": WINDOW,
        "attention_chunk_size": WINDOW,
        "attn_logit_softcapping": SOFTCAP,
        "final_logit_softcapping": SOFTCAP,
        "intermediate_size": 64,
    }
    if kinds:
        settings["layer_types"] = (kinds * 2)[: max(2, len(kinds))]
    try:
        for name, value in settings.items():
            if getattr(text, name, None) is not None:
                setattr(text, name, value)
        silence_config(config)
        config._attn_implementation = "eager"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tiny = type(model)(config).float()
            for parameter in tiny.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=1.5 * parameter.shape[-1] ** -0.5)
    except Exception:  # A config of another shape than ours to shrink: the real weights decide alone, on padded rows.
        return None
    if score_head(tiny) is not None:
        nn.init.normal_(score_head(tiny).weight)  # pyright: ignore[reportOptionalMemberAccess]
    return tiny
