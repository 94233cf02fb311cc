"""What every contender gets: preference pairs in TRL's conversational format, a tokenizer and a small Llama.

The pairs are Anthropic's HH, where the scored files stand beside the checkout; else text made of pseudo-words with
HH's lengths.  Only pairs that fit in `MAX_LENGTH` tokens are taken, so that nobody truncates anything.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HH = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "hh_scored"
FILES = ("helpful_base", "harmless_base")
MAX_LENGTH = 512
BATCH = 8
"""Pairs in a batch."""
VOCABULARY = 8192
SOURCE = "source.txt"
END = "<|end|>"
SPECIAL = (END, "<|pad|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Every part begins with a token of its own, so that all trainers agree where an answer begins."""

# Deciles of HH: words of the prompt (all its turns), of an answer; share of dialogues with 1, 2, 3 and 4 questions.
PROMPT_WORDS = (3, 10, 15, 24, 40, 60, 82, 105, 140, 187, 365)
ANSWER_WORDS = (1, 6, 10, 14, 19, 25, 34, 44, 57, 76, 160)
QUESTIONS = (0.33, 0.25, 0.22, 0.20)

Pair = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Files of one benchmark run.

    folder: of the data.  models: of the language model and of the same trunk with a score head.
    """

    folder: Path
    models: Path
    source: str
    num_pairs: int

    @property
    def pairs(self) -> Path:
        """What Heedful reads."""
        return self.folder / "pairs.jsonl"

    @property
    def rewards(self) -> Path:
        """The same for objectives of offline reinforcement learning: rewards, and the value of every prompt."""
        return self.folder / "rewards.jsonl"

    def trl(self, objective: str) -> Path:
        """The same examples as TRL's trainer of this objective reads them, in the order of Heedful's sampler."""
        return self.folder / f"trl_{objective if objective in ('sft', 'kto') else 'pairs'}.jsonl"

    def model(self, objective: str) -> Path:
        """The folder of the model that an objective trains."""
        return self.models / ("score" if objective == "reward" else "lm")

    def first(self, count: int, folder: Path) -> Corpus:
        """The first `count` pairs, written to another folder."""
        part = Corpus(folder, self.models, self.source, min(count, self.num_pairs))
        write_rows(part, read_jsonl(self.pairs)[:count])
        return part


def hh_pairs(folder: Path = HH) -> list[Pair]:
    """The scored HH files as TRL's conversational preference rows; the human-chosen answer is `chosen`."""
    pairs = []
    for name in FILES:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                prompt = [_turn(turn) for turn in row["prefix"][0][:-1]]
                chosen, rejected = (text.strip() for text in row["suffix"])
                if chosen and rejected and chosen != rejected and row["prefix"][0] == row["prefix"][1]:
                    pairs.append(_pair(prompt, chosen, rejected))
    return pairs


def _turn(text: str) -> dict[str, str]:
    role = "user" if text.startswith("<|prompter|>") else "assistant"
    return {"role": role, "content": text.split("|>", 1)[1].strip()}


def _pair(prompt: list[dict[str, str]], chosen: str, rejected: str) -> Pair:
    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return {"prompt": prompt, "chosen": answer(chosen), "rejected": answer(rejected)}


def made_pairs(count: int, seed: int = 0) -> list[Pair]:
    """Pairs of pseudo-words with HH's length profile, where HH itself is not at hand."""
    rng = random.Random(seed)
    words = ["".join(rng.choice("bdfgklmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
             for _ in range(6000)]  # fmt: skip
    weights = [1 / (rank + 10) for rank in range(len(words))]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, weights, k=max(1, count))) + "."

    pairs = []
    for _ in range(count):
        questions = rng.choices(range(1, 5), QUESTIONS)[0]
        turns, total = 2 * questions - 1, from_deciles(PROMPT_WORDS, rng.random())
        prompt = [
            {"role": "assistant" if turn % 2 else "user", "content": text(total // turns)} for turn in range(turns)
        ]
        pairs.append(_pair(prompt, *(text(from_deciles(ANSWER_WORDS, rng.random())) for _ in range(2))))
    return pairs


def from_deciles(deciles: tuple[int, ...], u: float) -> int:
    """The quantile at u in [0, 1), by straight lines between the deciles."""
    at = u * (len(deciles) - 1)
    low = int(at)
    return round(deciles[low] + (at - low) * (deciles[low + 1] - deciles[low]))


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A byte-level BPE of `VOCABULARY` tokens with the chat template above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token="<|pad|>", model_max_length=2048
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(*, scores: bool = False, width: int = 256, vocabulary: int = VOCABULARY, tied: bool = False) -> Any:
    """A Llama of 6 layers with random weights: 9.0 million parameters at the width and vocabulary of the defaults."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        tie_word_embeddings=tied,
    )
    if scores:
        config.num_labels = 1
    torch.manual_seed(0)
    return (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)


def fitting(pairs: list[Pair], tokenizer: Any, limit: int = MAX_LENGTH) -> list[Pair]:
    """The pairs whose prompt with either answer takes at most `limit` tokens."""
    texts = [
        tokenizer.apply_chat_template(pair["prompt"] + pair[side], tokenize=False)
        for pair in pairs
        for side in ("chosen", "rejected")
    ]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return [pair for i, pair in enumerate(pairs) if max(lengths[2 * i], lengths[2 * i + 1]) <= limit]


def write_corpus(folder: Path, num_pairs: int, *, seed: int = 0, hh: Path = HH) -> Corpus:
    """Write data, tokenizer and models into `folder`."""
    real = (hh / f"{FILES[0]}.jsonl.gz").is_file()
    pairs = hh_pairs(hh) if real else made_pairs(2 * num_pairs + 1000)
    tokenizer = make_tokenizer(message["content"] for pair in pairs for part in pair.values() for message in part)
    random.Random(seed).shuffle(pairs)
    pairs = fitting(pairs[: 2 * num_pairs], tokenizer)[:num_pairs]
    corpus = Corpus(folder, folder / "models", "HH" if real else "generated", len(pairs))
    write_rows(corpus, pairs)
    for objective in ("sft", "reward"):
        path = str(corpus.model(objective))
        make_model(scores=objective == "reward").save_pretrained(path)
        tokenizer.save_pretrained(path)
    (folder / SOURCE).write_text(corpus.source, encoding="utf-8")
    return corpus


def open_corpus(folder: Path) -> Corpus:
    """What `write_corpus` wrote."""
    source = (folder / SOURCE).read_text(encoding="utf-8")
    return Corpus(folder, folder / "models", source, len(read_jsonl(folder / "pairs.jsonl")))


def write_rows(corpus: Corpus, pairs: list[Pair], *, batch: int = BATCH, seed: int = 0) -> None:
    """The pairs as Heedful reads them, and as the rows that each of TRL's trainers reads, in the order of the batches.

    TRL's unpaired rows come batch by batch, first the chosen then the rejected answers: it makes mismatched answers by
    rotating within a batch, and an answer must not land on its own prompt.
    """
    from heedful.tokens.sampler import permutation

    corpus.folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(corpus.pairs, pairs)
    write_jsonl(corpus.rewards, map(_rewarded, pairs))
    ordered = [pairs[i] for i in permutation(len(pairs), seed, 0)]
    write_jsonl(corpus.trl("dpo"), ordered)
    write_jsonl(corpus.trl("sft"), [{"prompt": p["prompt"], "completion": p["chosen"]} for p in ordered])
    singles = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for start in range(0, len(ordered), batch)
        for side in ("chosen", "rejected")
        for pair in ordered[start : start + batch]
    ]
    write_jsonl(corpus.trl("kto"), singles)


def _rewarded(pair: Pair) -> dict[str, Any]:
    answers = [{"messages": pair[side], "reward": reward} for side, reward in (("chosen", 1.0), ("rejected", 0.0))]
    return {"prompt": pair["prompt"], "responses": answers, "value": 0.5}


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_jsonl(path: Path) -> list[Any]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
