"""`make answers`: runs whose optimum is known in closed form, trained by the command until they are there.

Of two answers to each of six prompts, people prefer the first in `n` of ten comparisons.  Under that data the minimum
of each objective is a formula of p = n/10, whatever the model, as long as it can tell the prompts apart.  What was
trained is measured apart from Heedful's forward: plain Transformers, one answer at a time, in float64.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from heedful.config import TrainConfig
from heedful.models import new_model
from heedful.models.quiet import quiet
from heedful.tokens import Template
from heedful.tokens.encoded import EncodedExample
from heedful.training.train import train
from heedful.types import Example, Message, Response

RESULT = Path(__file__).parent / "results" / "known-answers.json"
WINS = (5, 6, 7, 7, 8, 9)
"""Of ten comparisons of each prompt's two answers, how many the first one wins."""
ANSWERS = (("red", "green"), ("north", "south"), ("bread", "soup"), ("train", "boat"), ("six", "two"), ("oak", "elm"))
STEPS = 400
TOLERANCE = 0.05
"""In the unit of the answer: nats, or a reward model's score."""
EPSILON = 0.1


def logit(p: float) -> float:
    """log-odds of p."""
    return math.log(p / (1 - p))


@dataclass(frozen=True)
class Known:
    """An objective with its settings, and what its minimum is.

    differs: the two answers' difference of `measure` as a function of p; alone: one answer's own, as a function of how
    often that answer wins.  measure: what of an answer is measured, see `MEASURES`.
    """

    objective: str
    settings: dict[str, Any]
    formula: str
    measure: str
    differs: Callable[[float], float] | None = None
    alone: Callable[[float], float] | None = None


KNOWN = (
    Known("sft", {}, "log π(y) = log p", "logp", alone=math.log),
    Known("reward", {}, "s₁ - s₂ = logit p", "score", differs=logit),
    Known("dpo", {"beta": 0.5}, "r₁ - r₂ = logit(p)/β", "log ratio", differs=lambda p: logit(p) / 0.5),
    Known(
        "dpo",
        {"beta": 0.5, "label_smoothing": EPSILON},
        "r₁ - r₂ = logit(p(1-ε) + (1-p)ε)/β",
        "log ratio",
        differs=lambda p: logit(p * (1 - EPSILON) + (1 - p) * EPSILON) / 0.5,
    ),
    Known(
        "robust_dpo",
        {"beta": 0.5, "label_smoothing": EPSILON / 2},
        "r₁ - r₂ = logit((p-ε)/(1-2ε))/β",
        "log ratio",
        differs=lambda p: logit((p - EPSILON / 2) / (1 - EPSILON)) / 0.5,
    ),
    Known(
        "ipo",
        {"tau": 0.25, "length_normalized": False},
        "r₁ - r₂ = (2p-1)/(2τ)",
        "log ratio",
        differs=lambda p: (2 * p - 1) / 0.5,
    ),
    Known("sppo", {"beta": 0.5}, "r = (2p-1)/(2β)", "log ratio", alone=lambda p: 2 * p - 1),
    Known("nca", {"beta": 0.5}, "r = log(2p)/β", "log ratio", alone=lambda p: math.log(2 * p) / 0.5),
)


def main() -> int:
    """Train every one, print the table, and keep it unless some were left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.known_answers", description=__doc__)
    parser.add_argument("--only", help="objectives to run, separated by commas; nothing is written then")
    only = parser.parse_args().only
    wanted = [known for known in KNOWN if only is None or known.objective in only.split(",")]
    rows = []
    with tempfile.TemporaryDirectory(prefix="heedful-answers-") as folder:
        start = make_start(Path(folder))
        for known in wanted:
            rows.append(answer(known, start, Path(folder)))
            print("{objective:<11} {formula:<36} off by {deviation:.1e} at most".format(**rows[-1]), flush=True)
    if only is None:
        facts = {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(torch.get_num_threads())}
        RESULT.parent.mkdir(exist_ok=True)
        result = {**facts, "tolerance": TOLERANCE, "rows": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    missed = [row["objective"] for row in rows if row["deviation"] > TOLERANCE]
    if missed:
        print(f"Missed by more than {TOLERANCE}: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def prompt_of(number: int) -> list[Message]:
    """The prompt of that number."""
    return [Message("user", f"Question {number}: which one?")]


def make_start(folder: Path) -> Path:
    """The data, and an untrained model that can read it; returns the model's folder."""
    pairs, singles, rng = [], [], random.Random(0)
    for number, (wins, answers) in enumerate(zip(WINS, ANSWERS, strict=True)):
        prompt = [{"role": "user", "content": prompt_of(number)[0].content}]
        turns = [[{"role": "assistant", "content": answer}] for answer in answers]
        for i in range(10):
            better, worse = turns if i < wins else turns[::-1]
            pairs.append({"prompt": prompt, "chosen": better, "rejected": worse})
            singles.append({"prompt": prompt, "completion": better})
    for name, rows in (("pairs", pairs), ("singles", singles)):
        rng.shuffle(rows)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    texts = [prompt_of(n)[0].content + " ".join(answers) for n, answers in enumerate(ANSWERS)]
    new_model(folder / "model", texts, vocab_size=400, hidden_size=64, layers=2, heads=4, max_length=64)
    return folder / "model"


def answer(known: Known, start: Path, folder: Path) -> dict[str, Any]:
    """Train one objective and compare what came with what should."""
    data = folder / ("singles.jsonl" if known.objective == "sft" else "pairs.jsonl")
    settings = {
        "objective": {"name": known.objective, **known.settings},
        "model": str(start),
        "data": str(data),
        "out": str(folder / "run"),
        "cache_dir": str(folder / "cache"),
        "overwrite": True,
        "batch_size": 60,
        "steps": STEPS,
        "lr": 3e-3,
        "schedule": "cosine",
        "checkpoint_every": None,
    }
    train(TrainConfig.model_validate(settings), echo=lambda line: None)
    with quiet():
        measured = MEASURES[known.measure](folder / "run" / "final", start)
    off = []
    for (first, second), wins in zip(measured, WINS, strict=True):
        p = wins / 10
        if known.differs is not None:
            off.append(abs(first - second - known.differs(p)))
        if known.alone is not None:
            off += [abs(first - known.alone(p)), abs(second - known.alone(1 - p))]
    return {
        "objective": known.objective,
        "settings": known.settings,
        "formula": known.formula,
        "deviation": max(off),
        "measured": measured,
    }


def log_ratios(final: Path, start: Path) -> list[list[float]]:
    """log π/π_ref of both answers to each prompt, nats."""
    now, before = logps(final, start), logps(start, start)
    return [[a - b for a, b in zip(*both, strict=True)] for both in zip(now, before, strict=True)]


@torch.no_grad()
def logps(folder: Path, start: Path) -> list[list[float]]:
    """log π of both answers to each prompt, nats."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    found = []
    for prompt, answers in encoded(start):
        both = []
        for ids, trained in answers:
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            each = logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)]
            both.append(float(each[torch.tensor(trained)].sum()))
        found.append(both)
    return found


@torch.no_grad()
def scores(folder: Path, start: Path) -> list[list[float]]:
    """A reward model's score of both answers to each prompt."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()
    return [
        [float(model(torch.tensor([prompt + ids])).logits) for ids, _ in answers] for prompt, answers in encoded(start)
    ]


def encoded(start: Path) -> list[tuple[list[int], list[tuple[list[int], list[bool]]]]]:
    """Token ids of each prompt, and of its two answers with which of them are trained."""
    from transformers import AutoTokenizer

    template = Template.load(AutoTokenizer.from_pretrained(start))
    examples = [
        Example(prompt_of(n), [Response([Message("assistant", text)]) for text in answers])
        for n, answers in enumerate(ANSWERS)
    ]
    found = []
    for example in template.encode(examples, max_length=64):
        assert isinstance(example, EncodedExample)
        answers = [(response.ids.tolist(), response.trained.tolist()) for response in example.responses]
        found.append((example.prompt_ids.tolist(), answers))
    return found


MEASURES: dict[str, Callable[[Path, Path], list[list[float]]]] = {
    "logp": logps,
    "log ratio": log_ratios,
    "score": scores,
}

if __name__ == "__main__":
    sys.exit(main())
