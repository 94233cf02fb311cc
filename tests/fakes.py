"""Tiny tokenizers and models that every test shares.  No network, no files but those a test asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

END, PAD = "<|end|>", "<|pad|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""A template in the manner of ChatML: a header that ends in a newline, an end of turn, a newline after it."""

TEXTS = (
    "Human: How do I boil an egg?\n\nAssistant: Put it in boiling water for seven minutes.",
    "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n",
    "The quick brown fox jumps over the lazy dog. The dog does not mind. What is your name?",
)

ARCHES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2", "gpt_neox", "opt", "phi", "olmo2")
"""Architectures whose forward honours the registered attention function."""

STUBBORN = ("bloom", "gptj", "gpt_neo")
"""Architectures that ignore it."""

_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
}
_GQA = {**_SMALL, "num_key_value_heads": 2}
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_WIDTHS = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.1, **_NO_DROPOUT}

_SETTINGS: dict[str, dict[str, Any]] = {
    "llama": _GQA,
    "qwen2": _GQA,
    "qwen3": {**_GQA, "head_dim": 8},
    "mistral": {**_GQA, "sliding_window": 6},
    "gemma2": {
        **_GQA,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 6,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 5.0,
    },
    "gpt2": _WIDTHS,
    "gpt_neox": {**_SMALL, "attention_dropout": 0.0, "hidden_dropout": 0.0},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "init_std": 0.1,
        "dropout": 0.0,
    },
    "phi": {**_GQA, "resid_pdrop": 0.0},
    "olmo2": _GQA,
    "cohere": {**_GQA, "logit_scale": 0.3},
    "granite": {**_GQA, "logits_scaling": 2.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "gptj": {**_WIDTHS, "rotary_dim": 8},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 512,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 6,
        "initializer_range": 0.1,
    },
    "roberta": {**_SMALL, "type_vocab_size": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "bert": {**_SMALL, "type_vocab_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}


def tiny_tokenizer(texts: Iterable[str] | None = None, vocab_size: int = 320, chat_template: str | None = None) -> Any:
    """A byte-level BPE tokenizer with `<|end|>` (EOS, id 0) and `<|pad|>` (id 1); every text encodes and decodes back.

    texts: what the merges are learnt from (a built-in handful if None).  vocab_size: at most this; 258 is bytes only.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(TEXTS if texts is None else texts), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = chat_template
    return fast


def tiny_config(arch: str = "llama", vocab_size: int = 320, **overrides: Any) -> Any:
    """The Transformers config of a tiny model: 32 wide, two layers, four heads, EOS 0, pad 1, no dropout."""
    from transformers import AutoConfig

    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    return AutoConfig.for_model(arch, vocab_size=vocab_size, **{**special, **_SETTINGS[arch], **overrides})


def tiny_model(
    arch: str = "llama",
    vocab_size: int = 320,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    score: bool = False,
    **overrides: Any,
) -> Any:
    """A tiny causal language model with random weights (a function of `seed`), in training mode, without dropout.

    score: a sequence classifier with one label instead (a reward model).  overrides: settings of the config.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if score else AutoModelForCausalLM
    config = tiny_config(arch, vocab_size, **({"num_labels": 1} if score else {}), **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.from_config(config).to(dtype).train()


def save_tiny_model(path: str | Path, arch: str = "llama", *, tokenizer: Any = None, **settings: Any) -> Path:
    """Write a tiny model and its tokenizer as a plain Transformers folder and give the folder back.

    settings: those of `tiny_model`; the vocabulary is the tokenizer's and a few spare rows, as real models have.
    """
    tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
    model = tiny_model(arch, len(tokenizer) + 8, **settings)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)
