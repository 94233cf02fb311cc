"""Readers that users write: `my.py:read_mine`, a function that yields Examples, or plain rows of a known format.

    def read_mine(split):                      # or read_mine(), read_mine(split, path), read_mine(path)
        yield {"input": "Who?", "answer": "Me.", "other_answer": "You.", "better": True}     # Safe-RLHF's RawSample
        yield {"prompt": "Who?", "completion": "Me."}                                        # TRL's columns
        yield Example([Message("user", "Who?")], [Response([Message("assistant", "Me.")])])

It receives the split, and the mixture's PATH, each only if it has a parameter of that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from heedful.examples.conversation import RowError, kind
from heedful.examples.readers.reader import Reader
from heedful.types import Example, UserError
from heedful.user_file import running, user_function

GIVEN = ("split", "path")
"""What a reader is given of, by name."""


def load_user_reader(spec: str, detect: Callable[[Any], Reader]) -> Reader:
    """The reader `FILE.py:FUNCTION` names.

    detect: finds the reader of a plain row the function yields.
    Raises UserError if the file, or the function in it, is missing, or the file does not run.
    """
    function = user_function(spec, "reader")
    _check_parameters(function, spec)
    summary = (inspect.getdoc(function) or f"your reader, {spec}").splitlines()[0]
    return Reader(
        name=spec.rpartition(":")[2],
        summary=summary,
        declines=lambda row: "it reads a source of its own",
        convert=lambda row: _convert(row, detect),
        rows=lambda split, path: _call(function, spec, split, path),
    )


def _check_parameters(function: Callable[..., Any], spec: str) -> None:
    """Raise UserError for a function that needs more than a reader is given."""
    for name, p in inspect.signature(function).parameters.items():
        if name not in GIVEN and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise UserError(f"the reader {spec} needs {name!r}; a reader is given 'split' and 'path' only.")


def _call(function: Callable[..., Any], spec: str, split: str, path: str | None) -> Iterator[Any]:
    parameters = inspect.signature(function).parameters
    if path is not None and "path" not in parameters:
        raise UserError(f"the reader {spec} has no parameter 'path', so it cannot be given the path {path!r}.")
    given = {name: value for name, value in zip(GIVEN, (split, path), strict=True) if name in parameters}
    with running("reader", spec):
        rows = function(**given)
        if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
            raise UserError(f"the reader {spec} must yield examples or rows, and returned {kind(rows)}.")
        yield from rows


def _convert(row: Any, detect: Callable[[Any], Reader]) -> Example:
    if isinstance(row, Example):
        return row
    if not isinstance(row, Mapping):
        raise RowError(f"a reader must yield Examples or rows (mappings), not {kind(row)}")
    plain = dict(row)
    return detect(plain).convert(plain)
