"""Live trackers beside `metrics.jsonl`: wandb, trackio, tensorboard; offline without a key, never asking to log in."""

from __future__ import annotations

import importlib
import importlib.util
import json
import netrc
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from heedful.config import TrainConfig
from heedful.examples.io import replacing
from heedful.types import RunError, UserError

TRACKER_FILE = "tracker.json"
"""In the run folder: the id under which trackers know the run, so that a resumed run goes on in the same place."""

WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""The public server, by its older and its newer name."""


class Tracker(Protocol):
    """Where metrics are shown while a run goes on."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Show one row of metrics; its `step` says where."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Show a table, of samples for instance."""
        ...

    def close(self, *, failed: bool = False) -> None:
        """Finish; `failed` if the run did not come to its end."""
        ...


def check_tracker(config: TrainConfig) -> None:
    """Raise UserError if the tracker's package is not installed, or it would have to ask for a key."""
    if config.track is None:
        return
    if importlib.util.find_spec(config.track) is None:
        raise UserError(
            f"track={config.track} needs a package that is not installed: pip install 'heedful[{config.track}]'"
        )
    mode = os.environ.get("WANDB_MODE", "offline")
    if config.track == "wandb" and mode in ("online", "shared") and not _has_wandb_key():
        raise UserError(
            f"track=wandb with WANDB_MODE={mode} needs a key: set WANDB_API_KEY or say `wandb login` once; "
            "without WANDB_MODE the run is kept offline."
        )


def make_tracker(config: TrainConfig, out: Path, step: int) -> Tracker | None:
    """The tracker a configuration asks for, or None.

    out: the run folder.  step: steps done before, when resuming.
    Raises RunError if the tracker does not start.
    """
    if config.track is None:
        return None
    module = "torch.utils.tensorboard" if config.track == "tensorboard" else config.track
    kind = {"tensorboard": _Tensorboard, "wandb": _Wandb, "trackio": _Trackio}[config.track]
    try:
        return kind(importlib.import_module(module), config, out, step)
    except Exception as error:  # Foreign code: the sentence is ours, the reason theirs.
        offline = "; WANDB_MODE=offline keeps the run on this machine" if config.track == "wandb" else ""
        raise RunError(f"track={config.track} did not start ({error}){offline}; track=null trains without.") from error


def run_id(out: Path) -> str:
    """The id under which trackers know the run of this folder: made once, then read."""
    path = out / TRACKER_FILE
    if not path.exists():
        with replacing(path) as aside:
            aside.write_text(json.dumps({"id": uuid.uuid4().hex}) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["id"]


def _identity(config: TrainConfig, out: Path) -> dict[str, Any]:
    return {
        "project": config.track_project,
        "name": config.track_name or out.resolve().name,
        "group": config.track_group,
        "tags": config.track_tags,
    }


class _Tensorboard:
    """Event files in the run folder.  TensorBoard has no projects, groups or tags, so they stand in a text."""

    def __init__(self, package: Any, config: TrainConfig, out: Path, step: int) -> None:
        # What an earlier process showed after its last checkpoint is hidden: it comes again.
        self.writer = package.SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)
        about = {**_identity(config, out), **config.model_dump(mode="json")}
        self.table("settings", ("setting", "value"), [(k, json.dumps(v)) for k, v in about.items()], step)

    def log(self, row: Mapping[str, Any]) -> None:
        for key, value in row.items():
            if isinstance(value, int | float) and key != "step":
                self.writer.add_scalar(key, value, row["step"])

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        lines = ["|" + "|".join(map(_cell, line)) + "|" for line in (columns, ["---"] * len(columns), *rows)]
        self.writer.add_text(name, "\n".join(lines), step)

    def close(self, *, failed: bool = False) -> None:
        self.writer.close()


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")


class _Wandb:
    """A wandb run, online if there is a key and WANDB_MODE does not say otherwise; else under `wandb/` in `out`."""

    def __init__(self, package: Any, config: TrainConfig, out: Path, step: int) -> None:
        # Without a key wandb asks on the terminal; a run started at night must not wait for an answer.
        mode = os.environ.get("WANDB_MODE") or (None if _has_wandb_key() else "offline")
        if mode in ("offline", "disabled"):
            # Else it reports its own doings to its makers, offline or not.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self.package = package
        self.run = package.init(
            **_identity(config, out),
            config=config.model_dump(mode="json"),
            dir=str(out),
            id=run_id(out),
            resume="allow",
            mode=mode,  # pyright: ignore[reportArgumentType]
        )
        # By our own step: wandb's must rise, so it would drop what a resumed run shows again from its checkpoint on.
        self.run.define_metric("*", step_metric="step")

    def log(self, row: Mapping[str, Any]) -> None:
        self.run.log({key: value for key, value in row.items() if value is not None})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        table = self.package.Table(columns=list(columns), data=[list(row) for row in rows])
        self.run.log({"step": step, name: table})

    def close(self, *, failed: bool = False) -> None:
        self.run.finish(exit_code=int(failed))


class _Trackio:
    """A trackio run, in its database on this machine unless its own environment variables name a server."""

    def __init__(self, package: Any, config: TrainConfig, out: Path, step: int) -> None:
        about = _identity(config, out)
        settings = {**config.model_dump(mode="json"), "tags": about.pop("tags")}
        self.package = package
        self.run = package.init(**about, config=settings, embed=False)
        # It resumes by name, and two run folders may have the same; what it stores it stores under this id.
        self.run.id = run_id(out)

    def log(self, row: Mapping[str, Any]) -> None:
        shown = {key: value for key, value in row.items() if value is not None and key != "step"}
        self.run.log(shown, step=row["step"])

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        table = self.package.Table(columns=list(columns), data=[list(row) for row in rows])
        self.run.log({name: table}, step=step)

    def close(self, *, failed: bool = False) -> None:
        self.package.finish()


def _has_wandb_key() -> bool:
    """Whether wandb would find a key where its documentation says it looks: the environment, or `.netrc`."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = os.environ.get("WANDB_BASE_URL")
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any(host in hosts for host in ([urlsplit(server).netloc] if server else WANDB_HOSTS))
