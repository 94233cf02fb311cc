"""Small files in the schema in which the data sets of the recipes are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def put(raw: Path, name: str, content: Any) -> None:
    """A JSON file, JSON lines of a list, or a text."""
    path = raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list) and path.suffix == ".jsonl":
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def hh_row(question: str, chosen: str, rejected: str, rewards: tuple[float, float] = (1.5, -0.5)) -> dict[str, Any]:
    prefix = [f"<|prompter|>{question}", "<|assistant|>"]
    return {"prefix": [prefix, prefix], "suffix": [chosen, rejected], "reward": list(rewards), "sft_index": 0}


def wizard_row(topic: str, *turns: tuple[str, str]) -> dict[str, Any]:
    dialog = [{"speaker": "1_Apprentice", "text": said, "checked_sentence": {}} for said, _ in turns]
    answers = [
        {"speaker": "0_Wizard", "text": answer, "checked_sentence": {"s": f"{topic} is known."}} for _, answer in turns
    ]
    both = [turn for pair in zip(dialog, answers, strict=True) for turn in pair]
    return {"chosen_topic": topic, "dialog": both}


def faith_row(question: str, answer: str) -> dict[str, Any]:
    said = {"history": [question], "knowledge": "Tea is hot.", "response": answer}
    return {"dialog_idx": 0, "utterances": [said]}


def write_published(raw: Path) -> Path:
    """Every file that `heed data prepare` reads, below one folder."""
    rows = [hh_row(f"q{i}", f"good {i}", "bad") for i in range(4)]
    put(raw, "hh_train_len2/train.json", "".join(json.dumps(r) + "\n" for r in [*rows, hh_row("q", "as: ", "no")]))
    put(raw, "hh_dev/sampled_dev.json", [hh_row("d", "so:", "no")])
    put(raw, "hh_test/harmless_base.json", [hh_row("t", "yes", "no")])
    put(raw, "hh_test/bad_test_indices.json", {"harmless_base": [3]})
    atomic = [
        {"head": f"X{i}", "relation": "xWant", "tail": "t", "split": "val", "p_valid_model": 0.5} for i in range(9)
    ]
    atomic += [{**atomic[0], "split": split, "p_valid_model": 0.9} for split in ("train", "test", "train")]
    put(raw, "ATOMIC10X.jsonl", atomic)
    put(raw, "test.tsv", "a\txWant\tone\nb\tAtLocation\tx\na\txWant\ttwo\na\txNeed\tthree\n")
    header = "id,text,score,parent_text,parent_score\n"
    short = "".join(f"{{0}}{i},reply  number\t{i},{{1}}3,parent {i},1\n" for i in range(12))
    odd = f'{{0}}u,see http://x.org/a?b now,5,"see\nwww.y.com",1\n{{0}}e,,1,p,1\n{{0}}w,{"w " * 101},1,p,1\n'
    odd += f"{{0}}t,{'x' * 350},1,p,1\n"
    put(raw, "comments_positive.csv", header + (short + odd).format("p", ""))
    put(raw, "comments_negative.csv", header + short.format("n", "-"))
    for name in ("train", "valid_topic_split"):
        long = ("w" * 90, "short") if name == "train" else ("ok", "ok")
        dialogs = [wizard_row("Tea", ("Tea?", "Tea is hot."), ("And " * 5, "Yes it is.")), wizard_row("Log", long)]
        put(raw, f"wizard_of_wikipedia/{name}.json", dialogs)
    for name in ("train", "valid", "test"):
        put(raw, f"FaithDial/{name}.json", [faith_row(f"Tea {name}?", "It is hot.")])
    return raw
