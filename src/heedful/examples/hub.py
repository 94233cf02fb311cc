"""Data sets of the Hugging Face hub: `org/name[/config][@revision][#split]`, through `datasets.load_dataset`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heedful.examples.folders import arrow_rows, choose_split
from heedful.examples.rows import DATA_SUFFIXES, TEXT_SUFFIXES, OriginRow
from heedful.types import UserError

PATTERN = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?:/(?P<config>[^@#:]+))?(?:@(?P<revision>[^@#:]+))?(?:#(?P<split>[^@#:]+))?"
)


@dataclass(frozen=True)
class HubName:
    """config: a configuration of the data set, or else a folder of its repository."""

    name: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None


def parse_hub_name(text: str) -> HubName | None:
    """The parts of `org/name[/config][@revision][#split]`; None where the text cannot be a hub name (a path)."""
    match = PATTERN.fullmatch(text)
    if match is None or match["name"].lower().removesuffix(".gz").endswith((*DATA_SUFFIXES, *TEXT_SUFFIXES)):
        return None
    return HubName(**match.groupdict())


def hub_rows(hub: HubName, split: str) -> tuple[Iterator[OriginRow], str | None]:
    """(rows of a data set on the hub, a note as of `choose_split`).

    Raises UserError where the hub, the data set, its revision, configuration or split cannot be had.
    """
    import datasets

    loaded = _load(hub)
    where = hub.name + (f"/{hub.config}" if hub.config else "") + (f"@{hub.revision}" if hub.revision else "")
    assert isinstance(loaded, datasets.DatasetDict)
    name, note = choose_split([str(name) for name in loaded], hub.split or split, where)
    return arrow_rows(loaded[name], f"{where}#{name}"), note


def _load(hub: HubName) -> Any:
    import datasets

    def load(*, name: str | None = None, data_dir: str | None = None) -> Any:
        return datasets.load_dataset(hub.name, name, data_dir=data_dir, revision=hub.revision)

    try:
        try:
            return load(name=hub.config)
        except ValueError as error:
            if hub.config is None or "not found" not in str(error):
                raise
            return _load_folder(load, hub.config, str(error))
    except UserError:
        raise
    except Exception as error:
        raise UserError(_sentence(hub, error)) from error


def _load_folder(load: Any, folder: str, no_config: str) -> Any:
    """`Anthropic/hh-rlhf/harmless-base`: what is no configuration may be a folder of the repository."""
    try:
        return load(data_dir=folder)
    except (FileNotFoundError, ValueError):
        raise UserError(f"{no_config.rstrip('.')}; and the repository has no folder {folder!r} with data.") from None


def _sentence(hub: HubName, error: Exception) -> str:
    """What went wrong, for the errors people meet."""
    kinds = [cls.__name__ for cls in type(error).__mro__]
    reason = " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__
    if "GatedRepoError" in kinds or "gated" in reason.lower():
        return f"the data set {hub.name!r} is gated: accept its terms on the hub, then log in (`hf auth login`)."
    if "RevisionNotFoundError" in kinds or (hub.revision and "evision" in reason):
        return f"the data set {hub.name!r} has no revision {hub.revision!r}."
    if "DatasetNotFoundError" in kinds or "RepositoryNotFoundError" in kinds:
        return f"{hub.name!r} is neither a file or folder here nor a data set on the hub ({reason.rstrip('.')})."
    if "ConnectionError" in kinds or "ConnectError" in kinds or "OfflineModeIsEnabled" in kinds:
        return f"{hub.name!r} is no file or folder here, and the hub cannot be reached ({reason.rstrip('.')})."
    return f"the data set {hub.name!r} cannot be loaded: {type(error).__name__}: {reason.rstrip('.')}."
