"""Live trackers beside `metrics.jsonl`: wandb, trackio, tensorboard; offline without a key, never asking to log in."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from heedful.config import TrainConfig
from heedful.types import UserError


class Tracker(Protocol):
    """Where metrics are shown while a run goes on."""

    def log(self, row: dict[str, Any], step: int) -> None:
        """Show one row of metrics."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Show a table, of samples for instance."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


def make_tracker(config: TrainConfig, settings: dict[str, Any], out: Path) -> Tracker | None:
    """The tracker a configuration asks for, or None.

    Raises UserError if its package is not installed, naming the extra.
    """
    if config.track is None:
        return None
    module = "torch.utils.tensorboard" if config.track == "tensorboard" else config.track
    try:
        package = importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"track={config.track} needs a package that is not installed: pip install 'heedful[{config.track}]'"
        ) from error
    name = config.track_name or out.name
    if config.track == "tensorboard":
        return _Tensorboard(package, out / "tensorboard")
    return _Tables(package, config, name, settings, out)


class _Tensorboard:
    def __init__(self, package: Any, folder: Path) -> None:
        self.writer = package.SummaryWriter(str(folder))

    def log(self, row: dict[str, Any], step: int) -> None:
        for key, value in row.items():
            if isinstance(value, int | float) and key != "step":
                self.writer.add_scalar(key, value, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        lines = ["|" + "|".join(map(_cell, line)) + "|" for line in (columns, ["---"] * len(columns), *rows)]
        self.writer.add_text(name, "\n".join(lines), step)

    def close(self) -> None:
        self.writer.close()


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")


class _Tables:
    """wandb, and trackio, which has the same calls."""

    def __init__(self, package: Any, config: TrainConfig, name: str, settings: dict[str, Any], out: Path) -> None:
        self.package = package
        arguments: dict[str, Any] = {"project": config.track_project, "name": name, "config": settings}
        if config.track == "wandb":
            arguments |= {"group": config.track_group, "tags": config.track_tags or None, "dir": str(out)}
            # Without a key, wandb asks on the terminal; a run started at night must not wait for an answer.
            if not os.environ.get("WANDB_API_KEY") and not _has_netrc_key():
                arguments["mode"] = os.environ.get("WANDB_MODE", "offline")
        elif config.track_group:
            arguments["group"] = config.track_group
        if config.track == "trackio" and config.track_tags:
            arguments["config"] = {**settings, "tags": config.track_tags}
        self.run = package.init(**arguments)

    def log(self, row: dict[str, Any], step: int) -> None:
        self.package.log({k: v for k, v in row.items() if v is not None}, step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        if self.package.__name__ == "wandb":
            table = self.package.Table(columns=list(columns), data=[list(row) for row in rows])
        else:
            import pandas

            table = self.package.Table(dataframe=pandas.DataFrame(list(rows), columns=list(columns)))
        self.package.log({name: table}, step=step)

    def close(self) -> None:
        self.package.finish()


def _has_netrc_key() -> bool:
    import netrc

    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
