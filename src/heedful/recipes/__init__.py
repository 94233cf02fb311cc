"""Settings that are known to work, one YAML file each, one folder per family: `heed train dpo demo/dpo model=…`."""

from __future__ import annotations

from pathlib import Path

from heedful.config.suggest import did_you_mean
from heedful.types import UserError

FOLDER = Path(__file__).parent
PREPARE = "prepare"
"""The folder of the recipes of `heed data prepare`: how published files become data, not how a model is trained."""

SCORE = "score"
"""The folder of the recipes of `heed score`: how raw text becomes documents with scores."""

PUBLISHED = "published.yaml"
"""A family's list of published models, which is no recipe."""

FOLDERS = {
    "demo": "the tour's small model; the settings suit models of a million parameters",
    "halos": "losses with the settings of HALOs; add a model and data",
    "halos/archangel": "losses with the settings of the Archangel suite (SHP, HH, OASST1); add a model of models/",
    "lol/hh": "A-LoL and its rivals on Helpful and Harmless, LLaMA 7B with an adapter",
    "lol/comet": "A-LoL and its rivals on commonsense inferences, COMET-distil",
    "lol/reddit_pos": "A-LoL and its rivals on upvoted Reddit comments, DialoGPT-medium; nll first",
    "lol/reddit_neg": "the same on downvoted comments",
    "lol/wow": "A-LoL and its rivals on Wizard of Wikipedia, DialoGPT-medium; nll first",
    "lol/faithdial": "the same on FaithDial",
    "lol/faithdial_wow": "the same on both",
    "phf/toxicity/pretrain": "pretraining with human feedback against toxicity, GPT-2 from nothing",
    "phf/toxicity/finetune": "the same with feedback after half of the tokens without",
    "phf/pii/pretrain": "pretraining with human feedback against personal information, GPT-2 from nothing",
    "phf/pii/finetune": "the same with feedback after half of the tokens without",
    "phf/pep8/pretrain": "pretraining with human feedback for PEP 8, CodeParrot small from nothing",
    "phf/pep8/finetune": "the same with feedback after half of the tokens without",
    "phf/data": "the published documents with scores; stack one on a recipe of phf",
    "phf/pep8-stdlib": "the six objectives on Python of this machine, a small Llama from nothing, minutes each",
    "phf/pii-metadata": "the six objectives on what packages of this machine say of themselves",
    "phf/toxicity-metadata": "the same with the thresholds of toxicity and prompts that ask for it",
    "models": "published base models; mix one with any loss",
    PREPARE: "published files to data: heed data prepare NAME raw=FOLDER out=FOLDER",
    SCORE: "raw text to documents with scores: heed score --config score/NAME data=DATA out=FOLDER",
}
"""What is in each folder."""


def names() -> list[str]:
    """Every recipe as folder/name, sorted, but those of `heed data prepare` and `heed score`."""
    return sorted(name for name in _all() if not name.startswith((f"{PREPARE}/", f"{SCORE}/")))


def preparations() -> list[str]:
    """Every recipe of `heed data prepare`, by its name alone."""
    return sorted(name.removeprefix(f"{PREPARE}/") for name in _all() if name.startswith(f"{PREPARE}/"))


def scorings() -> list[str]:
    """Every recipe of `heed score`, as score/name."""
    return sorted(name for name in _all() if name.startswith(f"{SCORE}/"))


def _all() -> list[str]:
    return [
        path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml") if path.name != PUBLISHED
    ]


def recipe_path(name: str) -> Path:
    """The file of the recipe `folder/name`; UserError with the nearest name if there is none."""
    if name in names():
        return FOLDER / f"{name}.yaml"
    if name.removeprefix(f"{PREPARE}/") in preparations():
        raise UserError(
            f"{name} is a recipe for data: heed data prepare {name.removeprefix(f'{PREPARE}/')} raw=… out=…"
        )
    if name in scorings():
        raise UserError(f"{name} is a recipe for scores: heed score --config {name} data=… out=…")
    extra = f"; a file of your own is given as --config {name}" if name.endswith((".yaml", ".yml")) else ""
    inside = [other for other in names() if other.startswith(f"{name}/")]
    hint = f"; it is a folder, name one of {', '.join(inside)}" if inside else did_you_mean(name, names())
    raise UserError(f"{name}: there is no such recipe{hint}{extra or '; see heed recipes; settings are key=value'}")


def preparation_path(name: str) -> Path:
    """The file of the recipe `name` of `heed data prepare`; UserError with the nearest name if there is none."""
    plain = name.removeprefix(f"{PREPARE}/")
    if plain in preparations():
        return FOLDER / PREPARE / f"{plain}.yaml"
    raise UserError(
        f"{name}: no recipe prepares that{did_you_mean(plain, preparations())} ({', '.join(preparations())})"
    )


def scoring_path(name: str) -> Path:
    """The file of the recipe `score/name` of `heed score`; UserError with the nearest name if there is none."""
    if name in scorings():
        return FOLDER / f"{name}.yaml"
    raise UserError(f"{name}: no recipe scores that{did_you_mean(name, scorings())} ({', '.join(scorings())})")


def resource(name: str) -> Path | None:
    """A file that lies beside the recipes (prompts, word lists), by its place there; None if there is none."""
    path = FOLDER / name
    return path if path.is_file() else None


def about(path: Path) -> str:
    """The first comment of a recipe's file: what it is for, in one line."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("#").strip()
