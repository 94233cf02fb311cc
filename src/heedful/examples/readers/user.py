"""Readers that users write: `my.py:read_mine`, a function that yields Examples, or plain rows of a known format.

    def read_mine(split):                      # or read_mine(), read_mine(split, path), read_mine(path)
        yield {"input": "Who?", "answer": "Me.", "other_answer": "You.", "better": True}     # Safe-RLHF's RawSample
        yield {"prompt": "Who?", "completion": "Me."}                                        # TRL's columns
        yield Example([Message("user", "Who?")], [Response([Message("assistant", "Me.")])])

It receives the split, and the mixture's PATH, each only if it has a parameter of that name.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from heedful.config.suggest import did_you_mean
from heedful.examples.conversation import RowError, kind
from heedful.examples.readers.reader import Reader
from heedful.types import Example, UserError


def load_user_reader(spec: str, detect: Callable[[Any], Reader]) -> Reader:
    """The reader `FILE.py:FUNCTION` names.

    detect: finds the reader of a plain row the function yields.
    Raises UserError if the file, or the function in it, is missing, or the file does not run.
    """
    file, _, function_name = spec.rpartition(":")
    if not file.endswith(".py") or not function_name:
        raise UserError(f"readers: {spec!r} must be FILE.py:FUNCTION, for example my.py:read_mine.")
    module = _run(Path(file).expanduser(), spec)
    functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    function = vars(module).get(function_name)
    if not callable(function):
        raise UserError(f"readers: {file} has no function {function_name!r}{did_you_mean(function_name, functions)}.")
    summary = (inspect.getdoc(function) or f"your reader, {spec}").splitlines()[0]
    return Reader(
        name=function_name,
        summary=summary,
        declines=lambda row: "it reads a source of its own",
        convert=lambda row: _convert(row, detect),
        rows=lambda split, path: _call(function, spec, split, path),
    )


def _run(file: Path, spec: str) -> ModuleType:
    if not file.is_file():
        raise UserError(f"readers: {spec!r} names the file {str(file)!r}, which does not exist.")
    found = importlib.util.spec_from_file_location(f"heedful_user_{file.stem}", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"readers: {file} fails when it is run: {type(error).__name__}: {error}.") from error
    return module


def _call(function: Callable[..., Any], spec: str, split: str, path: str | None) -> Iterator[Any]:
    parameters = inspect.signature(function).parameters
    given = {"split": split, "path": path}
    if path is not None and "path" not in parameters:
        raise UserError(f"the reader {spec} has no parameter 'path', so it cannot be given the path {path!r}.")
    unknown = [
        name for name, p in parameters.items()
        if name not in given and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]  # fmt: skip
    if unknown:
        raise UserError(f"the reader {spec} needs {unknown[0]!r}; a reader is given 'split' and 'path' only.")
    try:
        rows = function(**{name: value for name, value in given.items() if name in parameters})
        if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
            raise UserError(f"the reader {spec} must yield examples or rows, and returned {kind(rows)}.")
        yield from rows
    except UserError:
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"the reader {spec} failed: {type(error).__name__}: {error} (line {at.lineno} of {at.filename})."
        ) from error


def _convert(row: Any, detect: Callable[[Any], Reader]) -> Example:
    if isinstance(row, Example):
        return row
    if not isinstance(row, Mapping):
        raise RowError(f"a reader must yield Examples or rows (mappings), not {kind(row)}")
    plain = dict(row)
    return detect(plain).convert(plain)
