"""The recipes of pretraining with human feedback: published settings, a few steps each, published models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from heedful import recipes
from heedful.config import TrainConfig, load_train, read_yaml
from heedful.evaluation.scenarios import read_prompts
from heedful.models import load_policy
from heedful.objectives import get
from heedful.scorers import get as get_scorer
from heedful.tokens.templates import Template
from heedful.training import train
from heedful.training.metrics import read_metrics
from heedful.workflows.evaluating import evaluate, read_request
from tests.fakes import save_tiny_model, tiny_tokenizer

PUBLISHED = [n for n in recipes.names() if n.split("/")[0] == "phf" and n.split("/")[-2] in ("pretrain", "finetune")]
LOCAL = [n for n in recipes.names() if n.split("/")[-2] in ("pep8-stdlib", "pii-metadata", "toxicity-metadata")]
SMALL = ("steps=2", "batch_size=4", "batch_unit=sequences", "max_length=24", "dtype=fp32", "device=cpu", "warmup=0",
         "watch=null", "threads=1", "tokens_per_pack=200", "checkpoint_every=null", "eval_fraction=null")  # fmt: skip


def test_all_are_there():
    assert len(PUBLISHED) == 36
    assert len(LOCAL) == 18


def config_of(name: str, place: Path, *words: str) -> TrainConfig:
    places = [f"model={place / 'model'}", f"data={place / 'published.jsonl'}", f"cache_dir={place / 'cache'}"]
    skip = [] if "finetune" not in name else ["skip_tokens=40"]
    words = (*SMALL, *places, *skip, f"out={place / name.replace('/', '-')}", *words)
    return load_train([recipes.recipe_path(name)], words, find=get)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phf")
    save_tiny_model(folder / "model")
    with (folder / "published.jsonl").open("w") as file:
        for i in range(24):
            texts = [f"Sentence {i}. ", f"Another one, number {i * i}. ", "The end."]
            row = {"texts": texts, "scores": [0.0, 0.001 * (i % 3), 0.0], "avg_score": 0.0004 * (i % 3)}
            file.write(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize("name", [*PUBLISHED, *LOCAL])
def test_a_recipe_runs_a_few_steps_on_rows_as_published(place, name):
    run = train(config_of(name, place), echo=lambda line: None)
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2]


TOKENS = 3_300_000_000
"""Of every run, those before the feedback included."""

# As published, by task: learning rate, sequences a step, steps between checkpoints.  Then what a method has of its own.
PRETRAIN = {"toxicity": (5e-4, 64, 25354), "pii": (5e-4, 64, 25177), "pep8": (8e-4, 64, 25177)}
OWN = {
    "toxicity/pretrain/awr": (1e-3, 1024, 1673),
    "toxicity/pretrain/rwr": (5e-4, 1024, 1673),
    "toxicity/finetune/awr": (1e-3, 512, 3346),
    "toxicity/finetune/rwr": (5e-4, 512, 3346),
    "pii/finetune/awr": (1e-4, 512, 25177),
    "pii/finetune/rwr": (1e-4, 512, 25177),
    "pep8/pretrain/awr": (1e-3, 256, 6294),
    "pep8/pretrain/rwr": (1e-3, 64, 25177),
    "pep8/finetune/awr": (1e-3, 256, 6294),
    "pep8/finetune/rwr": (1e-3, 64, 25177),
}
FINETUNE = {"toxicity": (5e-4, 64, 2535), "pii": (1e-4, 128, 25177), "pep8": (8e-4, 64, 25177)}
HALF_TRAINED = {
    "toxicity": ("tomekkorbak/goofy_pasteur@81a1701e", 1_661_599_744),
    "pii": ("tomekkorbak/nervous_wozniak@9e6c7854", 1_649_999_872),
    "pep8": ("kejian/mighty-mle@cf05a2b0", 1_649_999_872),
}
EVERY = {
    "toxicity/pretrain/awr": 16, "toxicity/pretrain/rwr": 16, "toxicity/finetune/awr": 32, "toxicity/finetune/rwr": 32,
    "pep8/pretrain/awr": 64, "pep8/finetune/awr": 64,
}  # fmt: skip
# The published RWR has a weight of 1 for the language model and a value head that nothing trains, which says -0.5.
RWR = {"beta": 10, "clip": 1000, "baseline": -0.5}
OBJECTIVES = {
    "toxicity/filtering": {"threshold": 7.8e-4},
    "toxicity/conditional": {"threshold": 5.6e-4, "drop_token_fraction": 0.01},
    "toxicity/unlikelihood": {"threshold": 7.8e-4, "alpha": 1},
    "toxicity/awr": {"alpha": 0.5, "beta": 10, "clip": 1000},
    "pii/filtering": {"threshold": 2.86e-4},
    "pii/conditional": {"threshold": 0, "drop_token_fraction": 0.01},
    "pii/unlikelihood": {"threshold": None, "alpha": 1},
    "pii/awr": {"alpha": 0.5, "beta": 0.1, "clip": 1000},
    "pep8/filtering": {"threshold": 2.361e-3},
    "pep8/conditional": {"threshold": 0, "drop_token_fraction": 0.1},
    "pep8/unlikelihood": {"threshold": None, "alpha": 0.01},
    "pep8/awr": {"alpha": 0.05, "beta": 1, "clip": 1000},
}
SCORERS = {"toxicity": "toxicity:unbiased", "pii": "pii:scrubadub", "pep8": "pep8"}


def published(name: str) -> TrainConfig:
    words = [f"{key}=x" for key in ("model", "data") if key not in read_yaml(recipes.recipe_path(name))]
    return load_train([recipes.recipe_path(name)], words, find=get)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_of_training(name):
    config, key = published(name), name.removeprefix("phf/")
    task, stage, method = key.split("/")
    lr, batch, save = OWN.get(key, (PRETRAIN if stage == "pretrain" else FINETUNE)[task])
    model, seen = HALF_TRAINED[task] if stage == "finetune" else ("x", 0)
    assert (config.model, config.skip_tokens) == (model, seen)
    assert (config.lr, config.batch_size, config.checkpoint_every) == (lr, batch, save)
    assert config.steps == (TOKENS - seen) // (batch * 1024)
    assert (config.batch_unit, config.max_length, config.allow_crossing) == ("sequences", 1024, True)
    assert (config.optimizer, config.betas, config.eps, config.weight_decay) == ("AdamW", (0.9, 0.999), 1e-8, 0.1)
    assert (config.schedule, config.warmup, config.max_grad_norm, config.seed) == ("linear", 0.01, 1.0, 42)
    assert config.objective.name == method
    expected = RWR if method == "rwr" else OBJECTIVES.get(f"{task}/{method}", {})
    assert {name: config.objective.settings[name] for name in expected} == expected


def test_published_numbers_of_steps():
    """The table of the published runs, for the arithmetic above."""
    steps = {name: published(f"phf/{name}").steps for name in ("toxicity/pretrain/mle", *OWN)}
    assert steps == {
        "toxicity/pretrain/mle": 50354, "toxicity/pretrain/awr": 3147, "toxicity/pretrain/rwr": 3147,
        "toxicity/finetune/awr": 3125, "toxicity/finetune/rwr": 3125, "pii/finetune/awr": 3147,
        "pii/finetune/rwr": 3147, "pep8/pretrain/awr": 12588, "pep8/pretrain/rwr": 50354, "pep8/finetune/awr": 6294,
        "pep8/finetune/rwr": 25177,
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_of_watching(name):
    watch = published(name).watch
    assert watch is not None
    key = name.removeprefix("phf/")
    task, _, method = key.split("/")
    assert (watch.every, watch.scorer) == (EVERY.get(key, 1000), SCORERS[task])
    names = ["unconditional", "functions"] if task == "pep8" else ["unconditional"]
    assert [scenario.name for scenario in watch.scenarios] == names
    # longest text with the token that begins it; of functions the prompt is left out of the count
    longest = {"unconditional": 639 if task == "pep8" else 127, "functions": 272}
    conditional = method == "conditional"
    both = ["<|aligned|>", "<|misaligned|>"]
    for one in watch.scenarios:
        assert (one.temperature, one.top_p, one.top_k) == (0.7, 0.9, None)
        assert one.max_new_tokens == longest[one.name]
        assert one.prefix == ("<|aligned|>" if conditional else "")
        assert one.banned == ((both[1:] if task == "pep8" else both) if conditional else [])
        assert one.hit_threshold == (0 if task == "pep8" else 0.5)
        assert one.score_prompt == (one.name == "functions")
        assert (one.prompts is not None) == (one.name == "functions")
        if task != "pep8":
            assert (one.num_samples, one.min_new_tokens) == (4096, 10)
    assert watch.kl is not None
    assert (watch.kl.reference, watch.kl.num_samples, watch.kl.max_new_tokens) == (None, 4096, 64)
    assert watch.kl.prefix == ("<|aligned|>" if conditional else "")
    assert watch.kl.prefix_lines == (conditional and task == "pep8")


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.endswith(("/mle", "/conditional"))])
def test_the_line_of_a_header_turns_the_distance_on(name):
    path = recipes.recipe_path(name)
    who = "code-cushman-001" if "/pep8/" in name else "GPT-3 (davinci)"
    line = next(line for line in path.read_text().splitlines() if "watch.kl.reference=" in line)
    assert who in line
    words = [f"{key}=x" for key in ("model", "data") if key not in read_yaml(path)]
    config = load_train([path], [*words, "watch.kl.reference=http://127.0.0.1:8000/v1#llm"], find=get)
    assert config.watch is not None
    assert config.watch.reference == "http://127.0.0.1:8000/v1#llm"
    assert config.watch.kl is not None
    assert (config.watch.kl.num_samples, config.watch.kl.prefix) == (4096, "<|aligned|>" if "/cond" in name else "")


def test_data_names_the_published_shards():
    found = read_yaml(recipes.recipe_path("phf/data/toxicity"))["data"]
    assert len(found) == 39
    assert found[0] == "tomekkorbak/detoxify-pile-chunk3-0-50000"
    assert found[-1] == "tomekkorbak/detoxify-pile-chunk3-1900000-1950000"


@pytest.mark.parametrize("name", ["toxicity", "pii", "pep8", "functions"])
def test_prompts_of_our_own(name):
    assert len(read_prompts(f"phf/prompts/{name}")) >= 16


def test_words_of_our_own():
    file = recipes.resource("phf/words/toxicity.txt")
    assert get_scorer(f"lexicon:{file}")([""], ["You idiot!"]) == [1 / 10]


def test_published_models_are_listed():
    found = read_yaml(recipes.FOLDER / "phf" / recipes.PUBLISHED)
    assert sum(len(models) for models in found.values()) == 18
    assert {frozenset(models) for models in found.values()} == {
        frozenset({"mle", "filtering", "conditional", "unlikelihood", "awr", "rwr"})
    }


class TestPublishedFolders:
    """A GPT-2 in the form of the published ones: `.bin` weights, a value head among them, two control tokens."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory) -> Path:
        place = tmp_path_factory.mktemp("published")
        tokenizer = tiny_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|aligned|>", "<|misaligned|>"]})
        save_tiny_model(place, "gpt2", tokenizer=tokenizer)
        from safetensors.torch import load_file

        state = load_file(place / "model.safetensors")
        state["value_head.linear.weight"] = torch.zeros(1, 32)
        torch.save(state, place / "pytorch_model.bin")
        (place / "model.safetensors").unlink()
        return place

    def test_it_loads_and_its_control_tokens_are_one_token_each(self, folder):
        loaded = load_policy(str(folder))
        template = Template.load(loaded.tokenizer, None)
        assert template.vocabulary.encode(["<|aligned|>", "<|misaligned|>"]) == [
            [loaded.tokenizer.convert_tokens_to_ids("<|aligned|>")],
            [loaded.tokenizer.convert_tokens_to_ids("<|misaligned|>")],
        ]

    def test_it_is_evaluated_by_scenarios_and_kl(self, folder, tmp_path):
        words = [
            "watch.scorer=pep8",
            "watch.scenarios=[{name: unconditional, num_samples: 4, max_new_tokens: 8, prefix: <|aligned|>, "
            "banned: [<|aligned|>, <|misaligned|>]}]",
            f"watch.kl={{reference: {folder}, num_samples: 4, max_new_tokens: 8}}",
            f"cache_dir={tmp_path / 'cache'}",
        ]
        asked = read_request([], words)
        assert asked.watch is not None
        out = evaluate(str(folder), asked.watch, tmp_path / "out", cache_dir=asked.cache_dir, echo=lambda line: None)
        metrics = json.loads((out / "evaluation.json").read_text())["metrics"]
        assert metrics["kl/sequence"] == pytest.approx(0.0, abs=1e-4)
        assert "generation/unconditional/score" in metrics
        assert (out / "report.html").exists()
