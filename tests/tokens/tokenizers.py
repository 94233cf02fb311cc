"""Tiny tokenizers in the manners of the field: GPT-2's and Llama 3's splitting, SentencePiece's, newlines alone."""

from __future__ import annotations

from functools import cache
from typing import Any

TEXTS = (
    "Human: How do I boil an egg?\n\nAssistant: Put it in boiling water for seven minutes.\n\n\n\n",
    "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n        return a - b\n",
    "USER: the quick brown fox ASSISTANT:Sure, it jumps: (yes) \"no\" 'it's' <b>1234</b> \t\t x",
    "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n\n  Two. Voilà, é, 你好。\n",
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STYLES = ("gpt2", "llama3", "metaspace", "newline")


@cache
def make(style: str, *, specials: tuple[str, ...] = (), adds_bos: bool = False, vocab_size: int = 700) -> Any:
    """A tokenizer of one style with `<s>`, `</s>` and `specials`.  adds_bos: puts `<s>` before plain text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = models.BPE(byte_fallback=True) if style == "metaspace" else models.BPE()
    tokenizer: Any = Tokenizer(bpe)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if style == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif style == "llama3":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), plain])
    elif style == "newline":
        lines = pre_tokenizers.Split("\n", "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        alphabet = []
    spelled = ["<s>", "</s>", *specials]
    extra = [f"<0x{byte:02X}>" for byte in range(256)] if style == "metaspace" else []
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[*spelled, *extra], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(list(TEXTS), trainer)
    if style == "metaspace":
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
    else:
        tokenizer.decoder = decoders.ByteLevel()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    elif style == "gpt2":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", additional_special_tokens=list(specials)
    )
