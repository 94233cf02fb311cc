"""Recipes from the published files to trained weights: small files in the published schema, and a tiny model.

Every objective of a recipe runs once on every schema that recipes train it on.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from heedful import recipes
from heedful.config import TrainConfig, load_train, read_yaml
from heedful.examples import prompt_key
from heedful.objectives import get
from heedful.recipes.needs import needs_in
from heedful.tokens.templates import Template
from heedful.training import train
from heedful.training.labels import Values, ValueTask
from heedful.training.metrics import read_metrics
from heedful.types import Message
from heedful.workflows.prepare import prepare
from tests.examples.makers import write_rows
from tests.examples.test_readers_published import message, shp
from tests.fakes import save_tiny_model, tiny_tokenizer
from tests.workflows.published import write_published

PREPARED = {"hh": (), "comet": ("val=4",), "reddit": ("held_out=2",), "wow": (), "faithdial": (), "faithdial_wow": ()}
"""The recipes of `heed data prepare`, and what is smaller here."""
PAIRS = ("shp.jsonl", "hh.jsonl", "oasst-en::oasst.jsonl")
"""What stands for the data sets of Archangel."""
SCHEMAS = {"wow": "dialogue", "faithdial": "dialogue", "faithdial_wow": "dialogue", "reddit": "dialogue"}
SMALL = {
    "adapter": "null",
    "steps": "2",
    "batch_size": "2",
    "warmup": "0",
    "dtype": "fp32",
    "device": "cpu",
    "gradient_checkpointing": "false",
    "checkpoint_every": "null",
    "threads": "1",
    "tokens_per_pack": "600",
    "eval_data": "null",
    "eval_every": "null",
    "max_length": "300",
    "max_prompt_length": "200",
}


def schema_of(name: str) -> str:
    """Which files a recipe trains on."""
    made = [need.prepare for need in needs_in(recipes.recipe_path(name)) if need.prepare]
    return SCHEMAS.get(made[0], made[0]) if made else "pairs"


def distinct() -> list[str]:
    """The first recipe of each objective, schema, sampling and clipping; those of demo and phf are run elsewhere."""
    found: dict[tuple[str, ...], str] = {}
    for name in recipes.names():
        own = read_yaml(recipes.recipe_path(name))
        if "objective" in own and not name.startswith(("demo/", "phf/")):
            extras = (str(own["objective"].get("humanline")), own.get("sampling", "uniform"))
            found.setdefault((own["objective"]["name"], schema_of(name), *extras), name)
    return list(found.values())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, the prepared data sets and three of preference pairs."""
    place = tmp_path_factory.mktemp("recipes")
    save_tiny_model(place / "model")
    raw = write_published(place / "raw")
    for name, words in PREPARED.items():
        chosen = (*words, f"tokenizer={place / 'model'}") if name not in ("hh", "comet") else words
        prepare(name, [f"raw={raw}", f"out={place / 'data' / name}", *chosen], echo=lambda line: None)
    write_rows(place / "shp.jsonl", [shp(f"p{i}", 9 + i, 2) for i in range(3)])
    past = "\n\nHuman: How are you?\n\nAssistant:"
    write_rows(place / "hh.jsonl", [{"chosen": f"{past} Fine {i}.", "rejected": f"{past} Bad."} for i in range(3)])
    tree = [message("q", None, "prompter"), message("a", "q", "assistant", 0), message("b", "q", "assistant", 1)]
    write_rows(place / "oasst.jsonl", tree)
    return place


def small(name: str, place: Path) -> TrainConfig:
    """A recipe with the tiny model, the small data, and a scorer that needs no files."""
    own = read_yaml(recipes.recipe_path(name))
    words = {**SMALL, "model": place / "model", "cache_dir": place / "cache", "out": place / name.replace("/", "-")}
    words["data"] = "[" + ",".join(PAIRS) + "]" if schema_of(name) == "pairs" else own["data"]
    if {*(own.get("rewards") or {})} - {"data"} or own["objective"]["name"] == "grpo_offline":
        words["rewards"] = "{length: {normalize: sigmoid}}"
    files = [recipes.recipe_path(name)]
    return load_train(files, [f"{key}={value}" for key, value in words.items()], find=get)


def half(task: ValueTask) -> Values:
    """Every prompt is worth 0.5; how values are estimated is another test's."""
    return Values({prompt_key(example): 0.5 for example in (*task.train, *task.held_out)})


@pytest.mark.parametrize("name", distinct())
def test_a_recipe_trains(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    run = train(small(name, place), echo=lambda line: None, find_values=half)
    losses = [row["loss"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    assert (run / "final").is_dir()


# what the models read is what was published


def test_the_prompt_of_helpful_and_harmless() -> None:
    template = Template.load(tiny_tokenizer(), "lol-hh")
    asked = [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Tea?")]
    preamble = (
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions.\n"
    )
    assert (
        template.prompt_text(asked) == preamble + " ### Human: Hi ### Assistant: Hello. ### Human: Tea? ### Assistant:"
    )
    assert template.render([*asked, Message("assistant", "Yes")]) == template.prompt_text(asked) + " Yes"


def test_the_prompt_of_grounded_dialogues() -> None:
    tokenizer = tiny_tokenizer()
    template = Template.load(tokenizer, "dialogpt")
    asked = [Message("system", "Knowledge: Tea is hot."), Message("user", "Tea?")]
    end = tokenizer.eos_token
    assert template.prompt_text(asked) == f"Knowledge: Tea is hot.{end}Tea?{end}"
    assert template.render([*asked, Message("assistant", "Yes")]) == f"Knowledge: Tea is hot.{end}Tea?{end}Yes{end}"
