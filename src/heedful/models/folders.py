"""Where a model lies: names to folders, what is in them, and who they are."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from heedful.config import did_you_mean
from heedful.examples.rows import refuse_pointer
from heedful.types import UserError

_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_PLAIN_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_VOLATILE = {"_name_or_path", "transformers_version", "use_cache", "dtype", "torch_dtype"}


def resolve(name: str, *, trust_remote_code: bool = False, setting: str = "model") -> str:
    """The local folder of a model named by its folder, run folder (its `final/`), `checkpoints/step-N` or hub name.

    A hub name (`owner/name@revision`) is downloaded or taken from the local cache; its code only with
    trust_remote_code.  setting: what the name was given as, for messages.
    Raises UserError if there is no such model.
    """
    folder = Path(name).expanduser()
    if folder.is_file():
        raise UserError(f"{setting}={name} is a file; name the folder that holds it")
    if folder.is_dir():
        return str(_within(folder))
    match = _HUB_NAME.fullmatch(name)
    if match is None or name.startswith((".", "/", "~")):
        raise UserError(f"{setting}={name}: no such folder{_near(folder)}")
    return _download(f"{setting}={name}", match["repo"], match["revision"], trust_remote_code, _near(folder))


def _within(folder: Path) -> Path:
    for candidate in (folder, folder / "final"):
        if holds_model(candidate):
            return candidate
    steps = [path for path in folder.glob("checkpoints/step-*") if holds_model(path)]
    if steps:
        newest = max(steps, key=lambda path: int(path.name.removeprefix("step-")))
        raise UserError(f"the run {folder} is not finished (it has no final/); name a checkpoint of it, say {newest}")
    raise UserError(f"{folder} holds no model: neither config.json nor adapter_config.json is in it or in its final/")


def holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or is_adapter(folder)


def is_adapter(folder: str | Path) -> bool:
    return (Path(folder) / "adapter_config.json").is_file()


def _near(folder: Path) -> str:
    """`; did you mean X?` with a model of nearly that name in the same folder."""
    if not folder.parent.is_dir():
        return ""
    near = did_you_mean(folder.name, [path.name for path in folder.parent.iterdir() if path.is_dir()])
    return near.replace("did you mean ", f"did you mean {folder.parent}/") if str(folder.parent) != "." else near


def _download(name: str, repo: str, revision: str | None, trust_remote_code: bool, near: str) -> str:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_PLAIN_FILES, *(["*.py"] if trust_remote_code else [])]

    def fetch(weights: str) -> str:
        return snapshot_download(repo, revision=revision, allow_patterns=[*patterns, weights], ignore_patterns=["*/*"])

    try:
        folder = fetch("*.safetensors")
        if not any(Path(folder).glob("*.safetensors")):
            folder = fetch("*.bin")
    except LocalEntryNotFoundError as error:
        why = " (HF_HUB_OFFLINE is set)" if constants.is_offline_mode() else ""
        raise UserError(f"{name}: no such folder, and the hub cannot be reached to look for it{why}{near}") from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(f"{name}: no such folder, and the hub says: {first_line(error)}{near}") from error
    if not holds_model(Path(folder)):
        raise UserError(f"{name}: the hub's {repo} holds no model (no config.json, no adapter_config.json)")
    return folder


def first_line(error: Exception) -> str:
    """The first line of what an error of other people's code says, or its name if it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def refuse_used(out: Path) -> None:
    """Raise UserError unless `out` can become a new model's folder: it is not there yet, or an empty folder."""
    if out.is_file():
        raise UserError(f"out={out} is a file; name a folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"out={out} exists and is not empty; name another folder")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.  Raises UserError with the file's name if it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, not a JSON object")
    return content


def weight_files(folder: str | Path) -> list[Path]:
    """The files that hold a model's (or adapter's) weights: safetensors, or `.bin` where there are none.

    Raises UserError if there are none, one of a set is missing, or one is only a git-LFS pointer.
    """
    folder = Path(folder)
    stems = ("adapter_model",) if is_adapter(folder) else ("model", "pytorch_model")
    for stem in stems:
        for ending in ("safetensors", "bin"):
            index = folder / f"{stem}.{ending}.index.json"
            single = folder / f"{stem}.{ending}"
            if index.is_file():
                names = sorted(set(read_json(index).get("weight_map", {}).values()))
                return _whole([folder / name for name in names])
            if single.is_file():
                return _whole([single])
    raise UserError(f"{folder} holds no weights: expected model.safetensors (or adapter_model.safetensors) in it")


def _whole(files: list[Path]) -> list[Path]:
    for path in files:
        if not path.is_file():
            raise UserError(f"{path.parent} is incomplete: {path.name} is missing")
        refuse_pointer(path)
    return files


def base_of_adapter(folder: str | Path) -> str:
    """What an adapter's config names as its base model (a folder, or a hub name with its revision)."""
    config = read_json(Path(folder) / "adapter_config.json")
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not name:
        raise UserError(f"{folder}/adapter_config.json does not name its base model (base_model_name_or_path)")
    return f"{name}@{revision}" if revision and not Path(name).exists() else str(name)


def lasting_name(name: str, folder: str) -> tuple[str, str | None]:
    """How an adapter's config names its base, wherever it is read: the folder's whole path, or hub name and revision.

    name: what the base was called; folder: what `resolve` made of it.
    """
    if Path(name).expanduser().exists():
        return str(Path(folder).resolve()), None
    repo, _, revision = name.partition("@")
    return repo, revision or None


def digest_of(folder: str | Path) -> str:
    """Who a model is: a digest of its weights and of what its config says about computing with them.

    An adapter's covers its base model.  Raises UserError if something is missing.
    """
    folder = Path(folder)
    total = hashlib.blake2b(digest_size=16)
    if is_adapter(folder):
        total.update(digest_of(resolve(base_of_adapter(folder))).encode())
    config = read_json(folder / ("adapter_config.json" if is_adapter(folder) else "config.json"))
    kept = {key: value for key, value in config.items() if key not in _VOLATILE}
    total.update(json.dumps(kept, sort_keys=True).encode())
    for path in weight_files(folder):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "blake2b").digest())
    return total.hexdigest()
