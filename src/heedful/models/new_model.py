"""A small language model from nothing: a tokenizer trained on given text, a Llama with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from heedful.models.folders import refuse_used, resolve
from heedful.models.quiet import quiet
from heedful.models.tokenizers import load_tokenizer
from heedful.types import UserError

EOS, PAD = "<|endoftext|>", "<|pad|>"
SMALLEST_VOCABULARY = 258
"""The 256 bytes, the end of a text, and padding."""

# Newlines stand alone; spaces before a word go with it, indentation is one token of its own.  Possessive parts keep
# the match linear.  The second form lets a newline swallow what is around it, as most code tokenizers do.
_WORDS = r"[^\S\n]?\p{L}+|[^\S\n]?\p{N}{1,3}|[^\S\n]?[^\s\p{L}\p{N}]++|[^\S\n]+(?=[^\S\n]\S)|[^\S\n]+"
_ISOLATING = rf"\n|{_WORDS}"
_JOINING = rf"\n\s*|{_WORDS}"


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, newline_isolating: bool = True, max_length: int) -> Any:
    """A byte-level BPE tokenizer learnt from texts; decoding gives back exactly what was encoded.

    newline_isolating: a newline never shares a token with the indentation after it.
    Raises UserError for a vocabulary that does not hold the bytes, or texts that hold nothing.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(f"vocab_size={vocab_size} is too small; a byte-level one has {SMALLEST_VOCABULARY} or more")
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_ISOLATING if newline_isolating else _JOINING), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def new_like(out: str | Path, name: str, *, seed: int = 0) -> Path:
    """Write a folder with the tokenizer and config of another model and random weights.

    name: hub name or folder of a causal language model.  seed: of the weights, whose scale is the architecture's own.
    Raises UserError for a name that is none, or a folder that holds something.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    out = Path(out)
    refuse_used(out)
    folder = resolve(name)
    tokenizer = load_tokenizer(folder)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))
    return out


def new_model(
    out: str | Path,
    texts: Iterable[str],
    *,
    vocab_size: int = 4096,
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    kv_heads: int | None = None,
    max_length: int = 1024,
    seed: int = 0,
    newline_isolating: bool = True,
) -> Path:
    """Write a folder with a byte-level BPE tokenizer learnt from `texts` and a small Llama with random weights.

    vocab_size: at most this many tokens (fewer if the texts do not yield so many).  hidden_size: width; the inner
    width of its MLPs is 8/3 of it.  kv_heads: key/value heads; fewer than heads share them.  max_length: positions.
    seed: of the weights.  newline_isolating: see `train_tokenizer`.
    The same texts and settings give the same bytes.  Raises UserError for settings that do not fit together, or a
    folder that holds something.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    out, kv_heads = Path(out), kv_heads or heads
    refuse_used(out)
    if hidden_size % heads or (hidden_size // heads) % 2:
        raise UserError(f"hidden_size={hidden_size} must be an even multiple of heads={heads}")
    if heads % kv_heads:
        raise UserError(f"heads={heads} must be a multiple of kv_heads={kv_heads}")
    tokenizer = train_tokenizer(texts, vocab_size, newline_isolating=newline_isolating, max_length=max_length)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=-(-hidden_size * 8 // 3 // 32) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))
    return out
