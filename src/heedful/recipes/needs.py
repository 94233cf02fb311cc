"""What a recipe needs that a machine may lack: files, models of the hub, a login, a GPU.

In YAML, beside the settings:

    needs:
    - gpu: 24 GB
    - network: EleutherAI/pythia-1.4b       # a model or data set of the hub
    - login: meta-llama/Llama-3.1-8B        # the same, and its terms are to be accepted first
    - file: data/hh/train.jsonl.gz
      prepare: hh                           # made by `heed data prepare hh`; or `source: where it is published`
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlparse

from heedful.config import TrainConfig, read_yaml
from heedful.recipes import recipe_path
from heedful.types import UserError

Kind = Literal["gpu", "network", "login", "file"]


@dataclass(frozen=True)
class Need:
    """One thing a recipe needs.

    what: a file's path, a hub name, or how much memory of a GPU.
    source: where a file comes from.
    prepare: words of `heed data prepare` that make the file, but for raw= and out=.
    """

    kind: Kind
    what: str
    source: str = ""
    prepare: str = ""

    def __str__(self) -> str:
        return f"heed data prepare {self.prepare}" if self.prepare else f"{self.kind} {self.what}"

    @property
    def recipe(self) -> str:
        """How to get the file, in words."""
        if self.prepare:
            return f"make it: heed data prepare {self.prepare} raw=FOLDER out={Path(self.what).parent}"
        return f"it comes from {self.source}; put it there"


def needs_in(path: Path) -> list[Need]:
    """What a recipe's file says it needs, in its order."""
    return [_need(entry) for entry in read_yaml(path).get("needs") or []]


def _need(entry: Mapping[str, str]) -> Need:
    kind = next(kind for kind in get_args(Kind) if kind in entry)
    return Need(kind, **{"what" if key == kind else key: str(value) for key, value in entry.items()})


def check(names: Iterable[str], config: TrainConfig, kinds: Iterable[Kind] = get_args(Kind)) -> None:
    """Raise UserError, one sentence, for the first thing of these kinds that a recipe needs and this machine lacks.

    Only what the run would use counts: data=mine.jsonl needs none of the recipe's files, and model=mine no GPU.
    """
    settings = dict(_texts(config.model_dump(), ""))
    for name in names:
        path = recipe_path(name)
        computes = read_yaml(path).get("model") == config.model and config.device in ("auto", "cuda")
        for need in needs_in(path):
            setting = settings.get(need.what) if need.kind != "gpu" else "device" if computes else None
            if need.kind in kinds and setting is not None and (lack := _LACKS[need.kind](need, setting)) is not None:
                raise UserError(f"the recipe {name} needs {lack}.")


def _texts(value: Any, setting: str) -> Iterator[tuple[str, str]]:
    """(a text, the setting that holds it) of every text in the settings; of `NAME::PATH`, `SCORER:FILE` the end too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(str(key), setting or str(key))
            yield from _texts(inner, setting or str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, setting)
    elif isinstance(value, str):
        yield from ((part, setting) for part in (value, value.rpartition(":")[2]))


def _lacks_file(need: Need, setting: str) -> str | None:
    if Path(need.what).exists():
        return None
    return f"the file {need.what}, which is not there; {need.recipe} (or give another {setting}=)"


def _lacks_gpu(need: Need, setting: str) -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return f"a GPU with {need.what}, and this machine has none; {setting}=cpu tries without"


def _lacks_network(need: Need, setting: str) -> str | None:
    if _is_here(need.what) or _reaches_hub():
        return None
    return (
        f"{need.what} of the hub, which is not here and the hub cannot be reached; fetch it where it can "
        f"(hf download {need.what} --local-dir FOLDER) and name the folder in {setting}="
    )


def _lacks_login(need: Need, setting: str) -> str | None:
    from huggingface_hub import get_token

    if _is_here(need.what) or get_token() is not None:
        return _lacks_network(need, setting)
    return (
        f"{need.what} of the hub, which is given out after a login; accept its terms at "
        f"https://huggingface.co/{need.what}, then log in (hf auth login), or name a folder in {setting}="
    )


_LACKS = {"file": _lacks_file, "gpu": _lacks_gpu, "network": _lacks_network, "login": _lacks_login}


def _is_here(name: str) -> bool:
    """Whether a folder of that name, or the hub's cache, holds it."""
    from huggingface_hub import constants

    repo = name.partition("@")[0].replace("/", "--")
    cached = [Path(constants.HF_HUB_CACHE) / f"{kind}--{repo}" for kind in ("models", "datasets")]
    return Path(name).exists() or any(folder.is_dir() for folder in cached)


def _reaches_hub() -> bool:
    """Whether the hub answers; behind a proxy only asking for a file could tell, so yes."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    endpoint = urlparse(constants.ENDPOINT)
    if any(os.environ.get(name) for name in (f"{endpoint.scheme}_proxy", f"{endpoint.scheme}_proxy".upper())):
        return True
    try:
        with socket.create_connection((endpoint.hostname or "", endpoint.port or 443), timeout=5):
            return True
    except OSError:
        return False
