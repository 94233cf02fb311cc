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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # int((3.3e9 - seen)/(batch·1024)) steps
        ("phf/toxicity/pretrain/mle", {"lr": 5e-4, "batch_size": 64, "steps": 50354}),
        ("phf/toxicity/pretrain/awr", {"lr": 1e-3, "batch_size": 1024, "steps": 3147}),
        ("phf/pep8/pretrain/awr", {"lr": 1e-3, "batch_size": 256, "steps": 12588}),
        ("phf/pep8/pretrain/rwr", {"lr": 1e-3, "batch_size": 64, "steps": 50354}),
        ("phf/pii/finetune/awr", {"lr": 1e-4, "batch_size": 512, "steps": 3147, "skip_tokens": 1_649_999_872}),
        ("phf/pii/finetune/mle", {"lr": 1e-4, "batch_size": 128, "steps": 12588}),
        ("phf/toxicity/finetune/mle", {"batch_size": 64, "steps": 25000, "skip_tokens": 1_661_599_744}),
    ],
)
def test_published_settings(name, values):
    words = [f"{key}=x" for key in ("model", "data") if key not in read_yaml(recipes.recipe_path(name))]
    config = load_train([recipes.recipe_path(name)], words, find=get)
    assert {key: getattr(config, key) for key in values} == values


@pytest.mark.parametrize("task", ["pii", "pep8"])
def test_published_unlikelihood_ran_with_the_soft_mixture(task):
    assert read_yaml(recipes.recipe_path(f"phf/{task}/pretrain/unlikelihood"))["objective"]["threshold"] is None


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
