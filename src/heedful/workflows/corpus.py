"""Real input that every machine has: the functions of Python's own standard library.

Functions are cut out of their files by line numbers, so that their layout stays as it was written.  Docstrings are cut
away: they always parse and pycodestyle has little to say about prose, so a model rewarded for tidy code would learn to
write docstrings instead of code (it did).
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heedful.types import TEXT, Example, Message, Response, RunError

SKIPPED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})
"""Folders that are not the library itself."""


@dataclass(frozen=True)
class Function:
    """A function moved to the left margin: its header (`def` up to the line that ends in a colon) and its body."""

    file: str
    line: int
    header: str
    body: str


def collect_functions(root: Path | None = None, *, shortest: int = 60, longest: int = 400) -> list[Function]:
    """Every function of the library whose text has shortest … longest characters; equal texts once; in order of files.

    Left out: docstrings, functions of nothing else, one-liners without a line of body, what does not parse alone, tabs,
    and characters beyond ASCII.
    Raises RunError if the library has no sources (some distributions ship only compiled files).
    """
    root = root or Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, Function] = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if SKIPPED.isdisjoint(relative.parts):
            for function in _functions_of(path, relative.as_posix()):
                text = function.header + function.body
                if shortest <= len(text) <= longest:
                    found.setdefault(text, function)
    if not found:
        raise RunError(f"There is no Python source below {root}, which the demo learns from; use a full Python.")
    return list(found.values())


def _functions_of(path: Path, name: str) -> Iterator[Function]:
    try:
        source = path.read_text(encoding="utf-8")
        tree = _parsed(source)
    except (OSError, UnicodeDecodeError):
        return
    if tree is None:
        return
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            text = _at_margin(_without_docstring(node, lines), node.col_offset)
            header = _header(text)
            if header:
                yield Function(name, node.lineno, header, text[len(header) :])


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> list[str]:
    """The function's lines but those of its docstring and blank ones after it; none if nothing else is in it."""
    first, end = node.body[0], node.end_lineno
    if ast.get_docstring(node, clean=False) is None:
        return lines[node.lineno - 1 : end]
    if len(node.body) == 1 or node.body[1].lineno <= (first.end_lineno or 0):
        return []
    rest = lines[first.end_lineno : end]
    while rest and not rest[0].strip():
        rest = rest[1:]
    return lines[node.lineno - 1 : first.lineno - 1] + rest


def _at_margin(lines: list[str], indent: int) -> str:
    """The lines without their common indentation; empty if one of them starts further left (in a long string)."""
    if any(line.strip() and line[:indent].strip() for line in lines):
        return ""
    text = "".join(line[indent:] if line.strip() else "\n" for line in lines)
    return text if text.endswith("\n") else f"{text}\n"


def _header(text: str) -> str:
    """The first lines that are a whole function with `pass` under them; empty if there are none, or nothing follows."""
    if not text.isascii() or "\t" in text or "\r" in text or _parsed(text) is None:
        return ""
    header = ""
    for line in text.splitlines(keepends=True):
        header += line
        if line.rstrip().endswith(":") and _parsed(f"{header}    pass\n") is not None:
            return header if header != text else ""
    return ""


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def split_by_file(functions: list[Function], *, held_out: float, seed: int) -> tuple[list[Function], list[Function]]:
    """Training and held-out functions: whole files are held out, and headers that training has seen are left out."""

    def is_held_out(file: str) -> bool:
        digest = hashlib.blake2b(f"{seed}:{file}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") < held_out * 2**64

    train = [f for f in functions if not is_held_out(f.file)]
    seen = {f.header for f in train}
    return train, [f for f in functions if is_held_out(f.file) and f.header not in seen]


def to_example(function: Function) -> Example:
    """The header as a plain prompt, the body as its response."""
    where = f"{function.file}:{function.line}"
    return Example(
        [Message(TEXT, function.header)], [Response([Message(TEXT, function.body)])], id=where, source="stdlib"
    )
