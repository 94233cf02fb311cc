"""Settings that are known to work, one YAML file each, one folder per family: `heed train dpo demo/dpo model=…`."""

from __future__ import annotations

import difflib
from pathlib import Path

from heedful.types import UserError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every recipe as family/name, sorted."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of the recipe `family/name`; UserError with the nearest name if there is none."""
    path = FOLDER / f"{name}.yaml"
    if name in names():
        return path
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    extra = f"; a file of your own is given as --config {name}" if name.endswith((".yaml", ".yml")) else ""
    raise UserError(f"{name}: there is no such recipe{hint}{extra or '; see heed recipes; settings are key=value'}")


def about(name: str) -> str:
    """The first comment of a recipe: what it is for, in one line."""
    first = recipe_path(name).read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("#").strip()
