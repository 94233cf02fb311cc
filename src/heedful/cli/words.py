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
    list[Path] | None, Parameter(help="YAML file of settings; may repeat, a later one wins", negative="")
]
DryRun = Annotated[bool, Parameter(help="say what would be done, on what, and stop", negative="")]


def resolve(objective: str, words: Sequence[str], config: Sequence[Path] | None) -> TrainConfig:
    """The settings those words mean; recipes first, then the files, then key=value."""
    from heedful.recipes import recipe_path

    for word in words:
        if word in TrainConfig.model_fields:
            raise UserError(f"{word} is a setting and wants a value: {word}=VALUE")
    files = [*(recipe_path(word) for word in words if "=" not in word), *(config or [])]
    settings = [word for word in words if "=" in word]
    from heedful.objectives import get

    return load_train(files, settings, find=get, objective=objective)
