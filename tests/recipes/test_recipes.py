"""Every recipe loads, and says in its first line what it is for and below what it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heedful import recipes
from heedful.cli.root import main
from heedful.config import TrainConfig, load_train, read_yaml
from heedful.objectives import REGISTRY, get
from heedful.recipes import needs
from heedful.recipes.needs import Need, needs_in
from heedful.types import UserError

ALGORITHMS = {"nll", "wbc", "r_gold", "r_lol", "a_lol", "a_lol_seq", "a_lol_ref_free", "a_lol_kl"}
GENERATION = ("comet", "reddit_pos", "reddit_neg", "wow", "faithdial", "faithdial_wow")


def config_of(name: str, *words: str) -> TrainConfig:
    """A recipe's settings, with what it leaves to the user."""
    own = read_yaml(recipes.recipe_path(name))
    words = (*(f"{key}=x" for key in ("model", "data") if key not in own), *words)
    return load_train([recipes.recipe_path(name)], words, find=get, objective=None if "objective" in own else "sft")


def in_folder(folder: str) -> set[str]:
    return {name.removeprefix(f"{folder}/") for name in recipes.names() if name.startswith(f"{folder}/")}


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_loads(name: str) -> None:
    config = config_of(name)
    assert config.objective.name in REGISTRY
    assert name.rpartition("/")[0] in recipes.FOLDERS
    assert re.fullmatch(r"# .{20,}\.", recipes.recipe_path(name).read_text().splitlines()[0])


@pytest.mark.parametrize("name", recipes.names())
def test_what_a_recipe_names_is_among_its_needs(name: str) -> None:
    """A model or file that is named is needed, and the other way round."""
    path = recipes.recipe_path(name)
    own = read_yaml(path)
    named = [own.get("model"), own.get("adapter"), own.get("data"), own.get("eval_data"), *(own.get("rewards") or {})]
    flat = [value for entry in named for value in (entry if isinstance(entry, list) else [entry])]
    wanted = {value.rpartition(":")[2] for value in flat if value} - {"data"}
    needed = {need.what for need in needs_in(path) if need.kind != "gpu"}
    assert wanted == needed
    for need in needs_in(path):
        assert bool(need.source or need.prepare) == (need.kind == "file")
        assert not need.prepare or need.prepare in recipes.preparations()
    assert any(need.kind == "gpu" for need in needs_in(path)) == ("model" in own)


def test_every_folder_is_said_to_hold_what_it_holds() -> None:
    folders = {name.rpartition("/")[0] for name in recipes.names()} | {recipes.PREPARE, recipes.SCORE}
    assert folders == set(recipes.FOLDERS)


def test_every_published_run_has_a_recipe() -> None:
    halos = {"sft", "csft", "dpo", "cdpo", "ipo", "simpo", "slic", "kto", "ppo", "grpo", "bradley-terry"}
    assert halos | {"dpo-humanline", "kto-humanline", "grpo-humanline"} <= in_folder("halos")
    assert in_folder("halos/archangel") == {"sft", "csft", "dpo", "kto", "ppo", "slic"}
    priority = {f"{name}_good_priority" for name in ALGORITHMS - {"nll"}}
    assert in_folder("lol/hh") == ALGORITHMS | priority | {"dpo", "dpo_ref_free", "pro"}
    for task in GENERATION:
        assert in_folder(f"lol/{task}") == ALGORITHMS
    models = {"pythia-1.4b", "pythia-2.8b", "pythia-6.9b", "pythia-12b", "llama-7b", "llama-13b", "llama-30b"}
    assert models <= in_folder("models")


def test_the_published_settings_of_a_lol() -> None:
    hh = config_of("lol/hh/a_lol_good_priority")
    assert (hh.lr, hh.betas, hh.eps, hh.max_grad_norm, hh.batch_size, hh.steps, hh.seed) == (
        2e-4, (0.9, 0.999), 1e-6, 0.3, 16, 9000, 901,
    )  # fmt: skip
    assert (hh.objective.settings["clip"], hh.sampling, hh.max_prompt_length) == (0.9, "good_priority", 640)
    best = {"comet": 1, "reddit_pos": 5, "reddit_neg": 5, "wow": 4, "faithdial": 4, "faithdial_wow": 4}
    for task in GENERATION:
        config = config_of(f"lol/{task}/a_lol")
        assert config.rewards is not None
        assert len(config.rewards) == best[task]
        assert config.value_fit.range == (0, best[task]), "each classifier gives at most 1"
        assert config.objective.settings["clip"] is None
        assert config.epochs == (1 if task == "comet" else 3)
    assert config_of("lol/wow/nll").out == config_of("lol/wow/a_lol").model == "runs/wow-nll"


def test_a_model_mixes_with_a_loss() -> None:
    files = [recipes.recipe_path(name) for name in ("models/pythia-2.8b", "halos/archangel/kto")]
    config = load_train(files, find=get)
    assert (config.model, config.gradient_checkpointing, config.lr) == ("EleutherAI/pythia-2.8b", True, 5e-7)
    assert (config.optimizer, config.warmup, config.objective.name) == ("RMSprop", 150, "kto")


def test_a_mistyped_recipe_suggests() -> None:
    with pytest.raises(UserError, match="did you mean demo/kto"):
        recipes.recipe_path("demo/kot")
    with pytest.raises(UserError, match="there is no such recipe"):
        recipes.recipe_path("../config/x")
    with pytest.raises(UserError, match="it is a folder, name one of lol/hh/a_lol"):
        recipes.recipe_path("lol/hh")
    with pytest.raises(UserError, match="heed data prepare hh raw="):
        recipes.recipe_path("prepare/hh")


# what a machine lacks


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on a machine without a GPU, whose hub cannot be reached."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(needs, "_is_here", lambda name: Path(name).exists())
    monkeypatch.setattr(needs, "_reaches_hub", lambda: False)
    return tmp_path


def refused(name: str, *words: str) -> str:
    config = config_of(name, *words)
    with pytest.raises(UserError) as refusal:
        needs.check([name], config)
    return str(refusal.value)


def test_each_thing_that_is_lacking_is_named_with_its_source(bare: Path) -> None:
    assert refused("lol/hh/dpo") == (
        "the recipe lol/hh/dpo needs huggyllama/llama-7b of the hub, which is not here and the hub cannot be reached; "
        "fetch it where it can (hf download huggyllama/llama-7b --local-dir FOLDER) and name the folder in model=."
    )
    assert refused("lol/hh/dpo", "model=m") == refused("lol/hh/dpo", "model=m", "device=cpu")
    assert "timdettmers/qlora-hh-rlhf-7b of the hub" in refused("lol/hh/dpo", "model=m")
    assert refused("lol/hh/dpo", "model=m", "adapter=null") == (
        "the recipe lol/hh/dpo needs the file data/hh/train.jsonl.gz, which is not there; make it: "
        "heed data prepare hh raw=FOLDER out=data/hh (or give another data=)."
    )
    for name in ("huggyllama/llama-7b", "timdettmers/qlora-hh-rlhf-7b"):
        (bare / name).mkdir(parents=True)
    assert "needs a GPU with 40 GB, and this machine has none; device=cpu tries without" in refused("lol/hh/dpo")
    scorer = refused("lol/wow/wbc", "model=m", "data=x", "eval_data=null", "eval_every=null", "device=cpu")
    assert "needs the file models/roberta-base-CoLA, which is not there; it comes from the hub" in scorer
    assert scorer.endswith("put it there (or give another rewards=).")
    assert "heed train nll lol/wow/nll" in refused("lol/wow/wbc")


def test_a_login_is_asked_for(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert "accept its terms at https://huggingface.co/meta-llama/Llama-3.1-8B" in refused("models/llama-3.1-8b")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    assert "hub cannot be reached" in refused("models/llama-3.1-8b")


def test_what_a_run_does_not_use_it_does_not_need(bare: Path) -> None:
    words = ("model=m", "adapter=null", "data=d", "eval_data=null", "eval_every=null")
    needs.check(["lol/hh/dpo"], config_of("lol/hh/dpo", *words))
    needs.check(["models/pythia-12b"], config_of("models/pythia-12b"), ["file"])


def test_an_offline_machine_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not needs._reaches_hub()


def test_the_hubs_cache_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not needs._is_here("a/b")
    (tmp_path / "models--a--b").mkdir()
    assert needs._is_here("a/b@main")


# the commands


def test_the_list_shows_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in recipes.names())
    assert "needs: network EleutherAI/pythia-1.4b; gpu 40 GB" in said
    assert main(["recipes", "lol/hh"]) == 0
    said = capsys.readouterr().out
    assert "lol/hh/a_lol" in said
    assert "demo/dpo" not in said
    assert main(["recipes", "phf"]) == 0
    said = capsys.readouterr().out
    published = [name for name in recipes.names() if name.startswith(("phf/toxicity/", "phf/pii/", "phf/pep8/"))]
    assert len(published) == 36  # as docs/pretraining.md says
    assert all(f"  {name} " in said for name in published)
    for name in ("prepare/hh", "lol/hh/a_lol"):
        assert main(["recipes", name]) == 0
        assert "needs:\n- " in capsys.readouterr().out


def test_training_without_the_data_says_how_to_make_it(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "dpo", "lol/hh/dpo", "model=m", "adapter=null"]
    assert main(words) == 2
    assert "heed data prepare hh raw=FOLDER out=data/hh" in capsys.readouterr().err
    assert main(["train", "kto", "--config", "models/pythia-1.4b", "--config", "halos/kto", "data=d"]) == 2
    assert "the recipe models/pythia-1.4b needs EleutherAI/pythia-1.4b" in capsys.readouterr().err


def test_a_need_reads_as_a_word_and_a_thing() -> None:
    assert str(Need("gpu", "24 GB")) == "gpu 24 GB"
