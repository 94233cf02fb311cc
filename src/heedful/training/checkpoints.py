"""Checkpoints: written aside, flushed, renamed.  A kill at any instant leaves the last whole one.

`checkpoints/step-N/` is a model folder (it loads like any other) with the optimizer's state beside the weights:
`optimizer-NAME.safetensors` for each trainee, `trainer.json` with the step and the plain numbers, `state.safetensors`
with an objective's running state, and `reference.safetensors` with the weights of a reference that is synced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from heedful.types import RunError

TRAINER_FILE = "trainer.json"
REFERENCE_FILE = "reference.safetensors"


@dataclass
class TrainerState:
    """What a run needs, beside weights and optimizers, to go on as if nothing had happened.

    step: optimizer steps done.  tokens: seen so far.  num_bad: steps in a row that were not finite.
    best, best_step: value of the watched metric at the best checkpoint, and that checkpoint's step.
    optimizers: the plain numbers of each trainee's optimizer; its tensors lie beside.
    """

    step: int = 0
    tokens: int = 0
    num_bad: int = 0
    best: float | None = None
    best_step: int | None = None
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the whole checkpoints of a run, ascending."""
    folder = run / "checkpoints"
    found = [re.fullmatch(r"step-(\d+)", path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(match.group(1)) for match in found if match and (folder / match.group(0) / TRAINER_FILE).exists())


def latest_checkpoint(run: Path) -> Path | None:
    """The newest whole checkpoint, or None."""
    steps = checkpoint_steps(run)
    return run / "checkpoints" / f"step-{steps[-1]}" if steps else None


def best_checkpoint(run: Path) -> Path | None:
    """The checkpoint that keep_best kept, as the newest one knows; None if nothing was watched, or nothing finite."""
    latest = latest_checkpoint(run)
    if latest is None:
        return None
    step = json.loads((latest / TRAINER_FILE).read_text(encoding="utf-8"))["best_step"]
    return None if step is None else run / "checkpoints" / f"step-{step}"


def last_checkpoint_sentence(run: Path) -> str:
    """What the message of a failed run ends with."""
    last = latest_checkpoint(run)
    return f"The last checkpoint is {last}." if last else "There is no checkpoint yet."


def save_checkpoint(
    run: Path,
    trainer: TrainerState,
    optimizers: dict[str, tuple[dict[str, Tensor], dict[str, Any]]],
    running: dict[str, Tensor] | None,
    save_model: Callable[[Path], None],
    reference: dict[str, Tensor] | None = None,
) -> Path:
    """Write `checkpoints/step-N` whole or not at all.

    save_model: writes the model's folder.  Raises RunError, with the last good checkpoint's name, if the disk is full
    or cannot be written.
    """
    final = run / "checkpoints" / f"step-{trainer.step}"
    aside = final.with_name(f".step-{trainer.step}.partial")
    try:
        _remove(aside)
        aside.mkdir(parents=True)
        save_model(aside)
        for name, (tensors, numbers) in optimizers.items():
            save_file(tensors, aside / f"optimizer-{name}.safetensors")
            trainer.optimizers[name] = numbers
        if running:
            save_file({k: v.detach().cpu().contiguous() for k, v in running.items()}, aside / "state.safetensors")
        if reference is not None:
            save_file(reference, aside / REFERENCE_FILE)
        (aside / TRAINER_FILE).write_text(json.dumps(vars(trainer), indent=1), encoding="utf-8")
        flush_tree(aside)
        _remove(final)
        os.replace(aside, final)
        _flush(final.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        last = latest_checkpoint(run)
        where = f"the last good one is {last}" if last else "there is none yet"
        raise RunError(f"Checkpoint step-{trainer.step} could not be written ({error}); {where}.") from error
    return final


def load_trainer(checkpoint: Path) -> tuple[TrainerState, dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The trainer's state, each optimizer's tensors and the objective's running state."""
    trainer = TrainerState(**json.loads((checkpoint / TRAINER_FILE).read_text(encoding="utf-8")))
    optimizers = {name: load_file(checkpoint / f"optimizer-{name}.safetensors") for name in trainer.optimizers}
    state = checkpoint / "state.safetensors"
    return trainer, optimizers, load_file(state) if state.exists() else {}


def prune_checkpoints(run: Path, keep: int, best: int | None) -> None:
    """Remove all but the newest `keep` and the best."""
    for step in checkpoint_steps(run)[:-keep]:
        if step != best:
            _remove(run / "checkpoints" / f"step-{step}")


def remove_partial(run: Path) -> None:
    """Clear what a kill left half-written or half-removed."""
    folder = run / "checkpoints"
    for path in folder.glob(".*") if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)


def flush_tree(folder: Path) -> None:
    """Ask the system to put every file of a folder on the disk."""
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove a folder so that a kill half-way does not leave something that looks whole."""
    if path.exists():
        if not path.name.startswith("."):
            hidden = path.with_name(f".{path.name}.removed")
            shutil.rmtree(hidden, ignore_errors=True)
            path = path.rename(hidden)
        shutil.rmtree(path)
