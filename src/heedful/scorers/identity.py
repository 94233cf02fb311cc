"""Who a scorer is: a digest of the code and the files that its scores come from, by which they are cached."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from heedful.scorers import FILE_SCORERS, PATTERN_SCORERS, SCORERS, get
from heedful.scorers.lexicon import path_of
from heedful.scorers.published import is_published
from heedful.types import UserError


def identity_of(name: str) -> str:
    """Equal for two scorers only if every score is.  name: what `scorers.get` takes.

    A scorer of ours is known by the source of this package; a function of the user's by its file (what that imports is
    not looked at); a model by its weights and every other file of its folder.
    Raises UserError for files that are not there.
    """
    head, _, files = name.partition(":")
    if name in SCORERS or (head == "toxicity" and is_published(files)):
        return f"{name}-{_source()}"
    if head in PATTERN_SCORERS:
        path = path_of(files)
        return f"{name}-{_source()}" + (f"-{_digest(path)}" if path else "")
    file, _, function = name.rpartition(":")
    if file.endswith(".py"):
        return f"{function}-{_digest(_file(Path(file)))}"
    if head in FILE_SCORERS:
        return f"{name}-{_source()}-{_digest(_part_that_exists(files))}"
    if "/" not in name and not Path(name).expanduser().exists():
        get(name)  # which knows what it is near to
    from heedful.models.folders import resolve  # it loads torch, which most scorers do without

    return f"{_digest(Path(resolve(name, setting='rewards')))}-{_source()}"


def _source() -> str:
    """Of the modules of this package."""
    total = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"there is no file {path}; a scorer of your own is path/to/file.py:function.")
    return path


def _part_that_exists(files: str) -> Path:
    """The folder or file of `FOLDER`, `FOLDER:LABEL` or `FOLDER:LABEL:pair`; a hub name is resolved to its folder."""
    from heedful.models.folders import holds_model, resolve

    pieces = files.split(":")
    for end in range(len(pieces), 0, -1):
        path = Path(":".join(pieces[:end])).expanduser()
        if path.exists():
            return path / "final" if holds_model(path / "final") else path
    return Path(resolve(pieces[0], setting="folder"))


def _digest(path: Path) -> str:
    """Of a file, or of the files of a model's folder; computed again only when one of them changes."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    return _digest_of(path, tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=64)
def _digest_of(path: Path, _stamp: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.blake2b(digest_size=16)
    if path.is_file():
        total.update(path.read_bytes())
        return total.hexdigest()
    from heedful.models.folders import digest_of, holds_model, weight_files

    weights: list[Path] = []
    if holds_model(path):
        total.update(digest_of(path).encode())
        weights = weight_files(path)
    for file in sorted(path.iterdir()):
        if file.is_file() and file not in weights:  # tokenizer, template and a head of its own decide too
            total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()
