"""`heed data prepare`: published files to cleaned, split Examples with rewards, and a count of what was left out.

What is done is a recipe (`recipes/prepare/NAME.yaml`): which preparation, its settings, and the files it reads with
their sources.  Equal files, settings and seed give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heedful.config import load, read_yaml
from heedful.recipes import names, preparation_path, recipe_path
from heedful.recipes.needs import Need, needs_in
from heedful.types import UserError
from heedful.workflows.preparations import PREPARATIONS, Preparation, Settings
from heedful.workflows.preparations.parts import Parts

REPORT = "report.json"


def prepare(recipe: str, words: Sequence[str] = (), *, echo: Callable[[str], None] = print) -> Path:
    """Prepare data by a recipe into a new folder, which appears whole or not at all; returns the folder.

    recipe: a name of recipes/prepare, or a recipe that trains on data one of them makes.
    words: settings as `key=value`; raw= is the folder of the published files and out= the folder to write.
    The folder holds a `.jsonl.gz` for each part, and report.json: sources by digest, settings, and for each part how
    many examples and rewards it has and what was left out, by reason.
    Raises UserError for a recipe, setting or file that is not there, a folder that is there already, or malformed rows.
    """
    path, implied = _found(recipe)
    preparation = _preparation(path)
    needs = [need for need in needs_in(path) if need.kind == "file"]
    if needs and not any(word.startswith("raw=") for word in words):
        files = "; ".join(f"{need.what}, from {need.source}" for need in needs)
        raise UserError(f"raw=FOLDER is missing, the folder that holds {files}.")
    settings = load(preparation.settings, [path], [*implied, *words])
    _check_files(needs, settings.raw)
    if settings.out.exists():
        raise UserError(f"out={settings.out} is there already; name another folder, or remove it first.")
    with _appearing(settings.out) as folder:
        with Parts(folder) as parts:
            preparation.run(settings, parts)
        _write_report(folder / REPORT, path.stem, settings, needs, parts)
    for line in parts.lines():
        echo(line)
    return settings.out


def _found(recipe: str) -> tuple[Path, list[str]]:
    """(the recipe of a preparation, the settings a recipe that trains asks of it)."""
    if recipe not in names():
        return preparation_path(recipe), []
    wanted = [need.prepare.split() for need in needs_in(recipe_path(recipe)) if need.prepare]
    if not wanted:
        raise UserError(f"{recipe} needs no prepared data; give data= anything that heed data check can read.")
    name, *implied = wanted[0]
    return preparation_path(name), implied


def _preparation(path: Path) -> Preparation:
    return PREPARATIONS[read_yaml(path)["prepare"]]


def _check_files(needs: Sequence[Need], raw: Path) -> None:
    """Raise UserError for the first file that is not there, or is empty."""
    for need in needs:
        file = raw / need.what
        if not file.is_file() or not file.stat().st_size:
            there = "is empty" if file.is_file() else "is not there"
            raise UserError(
                f"{file} {there}; it comes from {need.source}: put it there, or give the folder that holds it as raw=."
            )


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when the block ends, and is removed if the block fails."""
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        yield aside
        aside.rename(out)
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror or error}); name another folder.") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_report(path: Path, name: str, settings: Settings, needs: Sequence[Need], parts: Parts) -> None:
    shown = settings.model_dump(mode="json", exclude={"raw", "out"})
    sources = {need.what: _digest(settings.raw / need.what) for need in needs}
    report: dict[str, Any] = {"recipe": name, "settings": shown, "sources": sources, "parts": parts.to_json()}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
