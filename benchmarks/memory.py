"""Peak memory of DPO above the loaded model, one process each: `VmHWM` after resetting it.

`python -m benchmarks.memory SIDE FOLDER` measures one side and prints a line of JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.corpus import BATCH, Corpus, made_pairs, make_model, write_rows

LARGE_VOCABULARY = 128_256
LARGE_PAIRS, LARGE_LENGTH = 2, 256
WIDTHS = {"9 million parameters": 64, "38 million parameters": 256}
"""Widths of the models with the large vocabulary.  Their embeddings are tied, as those of small models with it are."""
STEPS = 2
"""The optimizer's moments exist from the end of the first step on."""


def memory(corpus: Corpus, work: Path) -> dict[str, Any]:
    """Peaks of all sides and their ratios: at the small vocabulary in a full batch, at the large in a small one.

    heedful, trl: with reference log-probabilities worked out before.  trl_default: a second model in every step; that
    model counts as loaded.
    """
    small = corpus.first(STEPS * BATCH, work / "small")
    found = {"vocabulary 8192": _compare(small, BATCH, ("trl", "trl_default"))}
    for name, width in WIDTHS.items():
        large = large_corpus(corpus, work / f"large-{width}", width)
        found[f"vocabulary {LARGE_VOCABULARY}, {name}"] = _compare(large, LARGE_PAIRS, ("trl",))
    return found


def large_corpus(corpus: Corpus, folder: Path, width: int) -> Corpus:
    """A few pairs of exactly `LARGE_LENGTH` tokens a side, and a model with the large vocabulary."""
    from transformers import AutoTokenizer

    large = Corpus(folder, folder / "models", "generated", STEPS * LARGE_PAIRS)
    tokenizer = AutoTokenizer.from_pretrained(str(corpus.model("dpo")))
    write_rows(large, exact_pairs(large.num_pairs, tokenizer), batch=LARGE_PAIRS)
    make_model(width=width, vocabulary=LARGE_VOCABULARY, tied=True).save_pretrained(str(large.model("dpo")))
    tokenizer.save_pretrained(str(large.model("dpo")))
    return large


def exact_pairs(count: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Pairs whose prompt is half of `LARGE_LENGTH` tokens and each answer the other half."""
    half = LARGE_LENGTH // 2
    words = [word for pair in made_pairs(40) for turn in pair["prompt"] for word in turn["content"].split()]
    single = [w for w in dict.fromkeys(words) if len(tokenizer(" " + w, add_special_tokens=False)["input_ids"]) == 1]
    single = single or [" a"]

    def text(start: int, length: int) -> str:
        return "".join(" " + single[(start + i) % len(single)].strip() for i in range(length))

    return [
        {
            "prompt": [{"role": "user", "content": text(i, half - 3)}],
            "chosen": [{"role": "assistant", "content": text(2 * i, half - 1)}],
            "rejected": [{"role": "assistant", "content": text(2 * i + 1, half - 1)}],
        }
        for i in range(count)
    ]


def _compare(corpus: Corpus, batch: int, others: Sequence[str]) -> dict[str, Any]:
    peaks = {side: _in_process(side, corpus, batch) for side in ("heedful", *others)}
    return {
        "peak_mib": peaks,
        "ratios": {f"heedful/{side}": round(peaks["heedful"] / peaks[side], 3) for side in others},
    }


def _in_process(side: str, corpus: Corpus, batch: int) -> float:
    told = {**{key: str(value) for key, value in asdict(corpus).items()}, "num_pairs": corpus.num_pairs}
    command = [sys.executable, "-m", "benchmarks.memory", side, json.dumps(told), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side}'s memory could not be measured:\n{done.stderr}")
    return round(json.loads(done.stdout.splitlines()[-1])["peak_bytes"] / 2**20, 1)


def reset_peak() -> int:
    """Give freed memory back, set the peak to what is in use now, and return that, in bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def status_bytes(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure(side: str, corpus: Corpus, batch: int) -> int:
    """Bytes above the loaded model at the peak of a few steps."""
    work = corpus.folder / side
    if side == "heedful":
        from benchmarks.heed_side import HeedRun

        run = HeedRun(corpus, "dpo", work, {"batch_size": batch})
        run.prepare_loop()
    else:
        from benchmarks.trl_side import TrlRun

        run = TrlRun(corpus, "dpo", work, precompute=side == "trl", batch=batch)
    before = reset_peak()
    run.train()
    return status_bytes("VmHWM") - before


if __name__ == "__main__":
    _told = json.loads(sys.argv[2])
    _corpus = Corpus(Path(_told["folder"]), Path(_told["models"]), _told["source"], _told["num_pairs"])
    print(json.dumps({"peak_bytes": measure(sys.argv[1], _corpus, int(sys.argv[3]))}))
