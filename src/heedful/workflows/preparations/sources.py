"""Text that every machine has: functions of installed Python source, and what packages say of their authors."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from heedful.types import TEXT, Example, Message, Response, UserError
from heedful.workflows.corpus import Function, collect_functions
from heedful.workflows.preparations.parts import Parts
from heedful.workflows.preparations.preparation import Preparation, Settings

HEADERS = "headers.jsonl"
PAPERS = ("METADATA", "PKG-INFO", "LICENSE*", "LICENCE*", "COPYING*", "AUTHORS*", "CONTRIBUTORS*", "NOTICE*")


class FunctionSettings(Settings):
    """Which functions."""

    raw: Path = Field(Path(sysconfig.get_paths()["stdlib"]), description="folder of Python source")
    packages: bool = Field(True, description="take installed packages' source too")
    shortest: int = Field(60, ge=1, description="characters of the shortest function")
    longest: int = Field(400, ge=1, description="characters of the longest function")
    num_functions: int = Field(24_000, ge=1, description="most functions, drawn by the seed")
    held_out: float = Field(0.03, gt=0, lt=1, description="share of the files from which test headers come")


class PaperSettings(Settings):
    """Which texts of packages."""

    raw: Path = Field(Path(sysconfig.get_paths()["purelib"]), description="folder of installed packages")
    longest: int = Field(20_000, ge=1, description="characters of the longest text; longer ones are cut there")
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the texts that is held out")


def _functions(settings: FunctionSettings, parts: Parts) -> None:
    """train: functions as documents; headers.jsonl: headers of functions of other files, as prompts."""
    roots = [settings.raw, *([Path(sysconfig.get_paths()["purelib"])] if settings.packages else [])]
    found: dict[str, Function] = {}
    for root in roots:
        for function in collect_functions(root, shortest=settings.shortest, longest=settings.longest):
            found.setdefault(function.header + function.body, function)
    train = [f for f in found.values() if not _held_out(f.file, settings)]
    seen = {f.header for f in train}
    train.sort(key=lambda f: _draw(f"{f.file}:{f.line}", settings.seed))
    for function in train[: settings.num_functions]:
        parts.put("train", _document(function.header + function.body, f"{function.file}:{function.line}"))
    parts.refuse_empty("train")
    headers = {f.header for f in found.values() if _held_out(f.file, settings)} - seen
    lines = [json.dumps({"text": header}) for header in sorted(headers, key=lambda h: _draw(h, settings.seed))]
    if not lines:
        raise UserError(f"no function is held out of {len(found):,}; give a larger held_out")
    (parts.folder / HEADERS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _papers(settings: PaperSettings, parts: Parts) -> None:
    """train and test: what packages say of themselves, equal texts once, headers of metadata kept, code left out."""
    texts: dict[str, str] = {}
    for path in sorted(_paper_files(settings.raw)):
        try:
            text = path.read_text(encoding="utf-8")[: settings.longest]
        except (OSError, UnicodeDecodeError):
            continue
        if len(text.strip()) > 40:
            texts.setdefault(text, path.relative_to(settings.raw).as_posix())
    for text, name in texts.items():
        parts.put("test" if _held_out(name, settings) else "train", _document(text, name))
    parts.refuse_empty("train")
    parts.refuse_empty("test")


def _paper_files(root: Path) -> Iterator[Path]:
    for folder in root.glob("*.dist-info"):
        for pattern in PAPERS:
            yield from (path for path in folder.rglob(pattern) if path.is_file())


def _document(text: str, name: str) -> Example:
    return Example([], [Response([Message(TEXT, text)])], id=name)


def _held_out(file: str, settings: FunctionSettings | PaperSettings) -> bool:
    return _draw(file, settings.seed) < settings.held_out * 2**64


def _draw(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest(), "little")


PYTHON_FUNCTIONS = Preparation(FunctionSettings, _functions)
PACKAGE_PAPERS = Preparation(PaperSettings, _papers)
