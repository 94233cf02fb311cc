"""What `heed train`, `heed data check` and `heed data show` share: OBJECTIVE [RECIPE] [--config FILE] key=value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.config import TrainConfig, load_train
from heedful.types import UserError

ObjectiveName = Annotated[str, Parameter(help="name (see heed objectives) or path/to/file.py:function")]
Word = Annotated[str, Parameter(help="a recipe's name (see heed recipes), and settings as key=value")]
ConfigFiles = Annotated[
    list[Path] | None,
    Parameter(help="YAML file of settings, or a recipe's name; may repeat, a later one wins", negative=""),
]
DryRun = Annotated[bool, Parameter(help="say what would be done, on what, and stop", negative="")]


def resolve(
    objective: str, words: Sequence[str], config: Sequence[Path] | None, *, trains: bool = False
) -> TrainConfig:
    """The settings those words mean; recipes first, then the files (or recipes given as files), then key=value.

    trains: whether a GPU that a recipe needs must be there too, beside its files.
    """
    from heedful import recipes
    from heedful.objectives import get
    from heedful.recipes.needs import check

    for word in words:
        if word in TrainConfig.model_fields:
            raise UserError(f"{word} is a setting and wants a value: {word}=VALUE")
    named = [word for word in words if "=" not in word]
    files = [*map(recipes.recipe_path, named), *files_of(config)]
    named += [file.as_posix() for file in config or [] if is_recipe(file)]
    settings = load_train(files, [word for word in words if "=" in word], find=get, objective=objective)
    check(named, settings, ("file", "network", "login", "gpu") if trains else ("file",))
    return settings


def files_of(config: Sequence[Path] | None) -> list[Path]:
    """The files of `--config`, where a recipe's name stands for its file."""
    from heedful.recipes import recipe_path

    return [recipe_path(file.as_posix()) if is_recipe(file) else file for file in config or []]


def is_recipe(file: Path) -> bool:
    """Whether what was given as a file names a recipe."""
    from heedful.recipes import names

    return not file.exists() and file.as_posix() in names()
