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

CONFIG_FILE = "config.yaml"
FINAL = "final"


@dataclass(frozen=True)
class RunFolder:
    """What stands at `config.out` before the run: config is the one to use (the saved one, when continuing)."""

    path: Path
    status: Literal["new", "unfinished", "finished"]
    config: TrainConfig


def inspect_run(config: TrainConfig) -> RunFolder:
    """Look at `config.out` without changing anything.

    Raises UserError for a file, a folder of something else, one that may not be written, settings that differ from
    the run's there, or an existing run under resume=never.
    """
    path = Path(config.out)
    if path.exists() and not path.is_dir():
        raise UserError(f"out={path} is a file; name a folder.")
    check_writable(path)
    if not (path / CONFIG_FILE).exists():
        if path.exists() and any(path.iterdir()) and not config.overwrite:
            raise UserError(
                f"out={path} is not empty and holds no run; name another folder, or say overwrite=true to delete it."
            )
        return RunFolder(path, "new", config)
    if config.overwrite:
        return RunFolder(path, "new", config)
    if config.resume == "never":
        raise UserError(f"out={path} holds a run already; say resume=auto to continue it, or overwrite=true.")
    saved = TrainConfig.model_validate(read_yaml(path / CONFIG_FILE))
    status = "finished" if (path / FINAL).is_dir() else "unfinished"
    return RunFolder(path, status, resumed(saved, config))


def check_writable(path: Path) -> None:
    """Raise UserError unless files can be made in the folder (or in the nearest parent that exists)."""
    if (there := unwritable(path / CONFIG_FILE) or unwritable(path)) is not None:
        raise UserError(f"out={path}: {there} cannot be written to; choose a folder of your own with out=FOLDER.")


def begin_run(path: Path, config: TrainConfig, environment: dict[str, Any], data: dict[str, Any]) -> None:
    """Make the folder of a new run with its config.yaml, environment.json and data.json, whole or not at all.

    What was there under overwrite=true goes first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    (aside / CONFIG_FILE).write_text(dump_yaml(config), encoding="utf-8")
    for name, content in (("environment.json", environment), ("data.json", data)):
        (aside / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    os.rename(aside, path)
