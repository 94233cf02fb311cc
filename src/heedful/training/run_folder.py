"""The run folder: a new one, one to continue, or one that is finished; and what is written at its start."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heedful.config import TrainConfig, dump_yaml, read_yaml, resumed
from heedful.examples.io import unwritable
from heedful.types import UserError

CONFIG_FILE, ENVIRONMENT_FILE, DATA_FILE = "config.yaml", "environment.json", "data.json"
FINAL = "final"
WRITTEN_FIRST = (CONFIG_FILE, ENVIRONMENT_FILE, DATA_FILE)
"""What every run folder holds from its first moment on: a folder with all of them is one."""


@dataclass(frozen=True)
class RunFolder:
    """What stands at `config.out` before the run: config is the one to use (the saved one, when continuing)."""

    path: Path
    status: Literal["new", "unfinished", "finished"]
    config: TrainConfig


def inspect_run(config: TrainConfig) -> RunFolder:
    """Look at `config.out` without changing anything.

    Raises UserError for a file, a folder of something else, one that may not be written, settings that differ from
    the run's there, an existing run under resume=never, or one whose deletion would take more than the run.
    """
    path = Path(config.out)
    if path.exists() and not path.is_dir():
        raise UserError(f"out={path} is a file; name a folder.")
    check_writable(path)
    if not all((path / name).exists() for name in WRITTEN_FIRST):
        if path.exists() and any(path.iterdir()):
            raise UserError(
                f"out={path} is not empty and holds no run; name another folder (overwrite=true deletes runs alone)."
            )
        _refuse_place(path, config)
        return RunFolder(path, "new", config)
    if config.overwrite:
        _refuse_place(path, config)
        _refuse_inputs(path, config)
        return RunFolder(path, "new", config)
    if config.resume == "never":
        raise UserError(f"out={path} holds a run already; say resume=auto to continue it, or overwrite=true.")
    saved = TrainConfig.model_validate(read_yaml(path / CONFIG_FILE))
    status = "finished" if (path / FINAL).is_dir() else "unfinished"
    return RunFolder(path, status, resumed(saved, config))


def _refuse_place(path: Path, config: TrainConfig) -> None:
    """Raise UserError for a new run's folder that is the current one, or lies in a folder that is read as data."""
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"out={path} is the folder you are in, or holds it; name a folder of the run's own.")
    for text, place in _named(config.data, config.eval_data):
        if place.is_dir() and path.resolve().is_relative_to(place.resolve()):
            raise UserError(f"out={path} lies in {text}, so the run would be read as data; name a folder elsewhere.")


def _refuse_inputs(path: Path, config: TrainConfig) -> None:
    """Raise UserError if something that the settings name lies in the run that they ask to delete."""
    models = [config.model, config.adapter, config.reference, *(config.rewards or ())]
    folders = _named(*models, config.cache_dir, config.data, config.eval_data)
    # `dpo` and `hh` are names, not folders.
    files = [
        (text, place)
        for text, place in _named(config.objective.name, config.readers, config.view, config.template, config.value)
        if place.is_file()
    ]
    for text, place in [*folders, *files]:
        if place.resolve().is_relative_to(path.resolve()):
            raise UserError(f"overwrite=true would delete {text}, which lies in out={path}; move it elsewhere first.")


def _named(*settings: Any) -> list[tuple[str, Path]]:
    """The texts among settings with each file or folder that they name, as NAME:PROPORTION:PATH#SPLIT may.

    A source of a mixture may be spelled out, with its name and path apart.
    """
    items = [item for value in settings for item in (value if isinstance(value, list) else [value])]
    texts = [
        text for item in items for text in ((item.get("name"), item.get("path")) if isinstance(item, dict) else [item])
    ]
    found = []
    for text in (text for text in texts if isinstance(text, str)):
        parts = (text, text.rpartition(":")[0], text.rpartition(":")[2], text.partition(":")[0])
        places = {Path(part.rpartition("#")[0] or part).expanduser() for part in parts if part} | {Path(text)}
        found += [(text, place) for place in sorted(places) if place.exists()]
    return found


def check_writable(path: Path) -> None:
    """Raise UserError unless files can be made in the folder (or in the nearest parent that exists)."""
    if (there := unwritable(path / CONFIG_FILE) or unwritable(path)) is not None:
        raise UserError(f"out={path}: {there} cannot be written to; choose a folder of your own with out=FOLDER.")


def begin_run(path: Path, config: TrainConfig, environment: dict[str, Any], data: dict[str, Any]) -> None:
    """Make the folder of a new run with its config.yaml, environment.json and data.json, whole or not at all.

    What was there under overwrite=true goes first.
    """
    path = path.resolve()  # what a link leads to is what takes its place
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    (aside / CONFIG_FILE).write_text(dump_yaml(config), encoding="utf-8")
    for name, content in ((ENVIRONMENT_FILE, environment), (DATA_FILE, data)):
        (aside / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    os.rename(aside, path)
