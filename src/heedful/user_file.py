"""Functions in files of the user's own, named path/to/file.py:function: objectives, readers, scorers, views.

A file is run once, as a module of this one, so that what is defined in it pickles, also into processes that are
spawned: the module's name holds the file's path, and importing it anywhere finds the file again.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from heedful.types import UserError

__path__: list[str] = []
"""Makes this a package, whose modules are the users' files."""

_TEXTS: dict[str, str] = {}
"""What stood in the file of each module when it was run."""


def names_file(spec: str) -> bool:
    """Whether this is meant to name a function in a file, and no registered name."""
    return ".py:" in spec or spec.endswith(".py")


def user_function(spec: str, what: str, *, takes: Sequence[str] | None = None) -> Callable[..., Any]:
    """The function that `path/to/file.py:function` names.

    what: what it is to be, for messages (`scorer`).
    takes: names of the arguments it is called with, by position; None leaves that to the caller.

    Raises UserError for a name of another form, a file that is missing or does not run (with the line), a function
    that is missing (with those there are) or that cannot be called so.
    """
    file, _, name = spec.rpartition(":")
    if spec.endswith(".py"):
        raise UserError(f"{spec}: name the function too, as in {spec}:my_{what}.")
    if not file.endswith(".py") or not name.isidentifier():
        raise UserError(f"the {what} {spec!r} must be named path/to/file.py:function, as in my.py:my_{what}.")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"the {what} {spec}: there is no file {file}.")
    module = _module(path.resolve(), file)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{file} has no function {name!r}{_near(name, module)}.")
    if takes is not None:
        _check_call(function, f"the {what} {spec}", takes)
    return function


def _line_in(error: BaseException, file: str) -> str:
    """` (line N of FILE)`: the innermost line of that file that led to the error; empty if none did."""
    path = Path(file).expanduser().resolve()
    if isinstance(error, SyntaxError) and error.filename is not None and Path(error.filename) == path:
        return f" (line {error.lineno} of {file})"
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if Path(at.filename) == path]
    return f" (line {lines[-1]} of {file})" if lines else ""


@contextmanager
def running(what: str, spec: str) -> Iterator[None]:
    """Whatever a user's function raises in the block ends in a UserError with its line; what it says itself stays."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = _line_in(error, spec.rpartition(":")[0])
        raise UserError(f"the {what} {spec} failed: {type(error).__name__}: {error}{where}.") from error


def _module(path: Path, shown: str) -> ModuleType:
    """The file as a module, run again only if it has changed."""
    word = re.sub(r"\W", "_", path.stem)
    name = f"{__name__}.{word}__{str(path).encode().hex()}"
    text = path.read_text(encoding="utf-8", errors="replace")
    if name in sys.modules and _TEXTS.get(name) == text:
        return sys.modules[name]
    sys.modules.pop(name, None)
    neighbours = str(path.parent)
    if neighbours not in sys.path:
        sys.path.append(neighbours)  # last, so that a neighbour never takes the place of a library
    try:
        module = importlib.import_module(name)
    except SystemExit as exit:
        raise UserError(
            f"{shown} ends Python when it is imported{_line_in(exit, shown)}; put what is to run by itself alone under "
            'if __name__ == "__main__":'
        ) from None
    except Exception as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"{shown} cannot be imported: {type(error).__name__}: {told}{_line_in(error, shown)}."
        ) from error
    _TEXTS[name] = text
    return module


class _Source(SourceFileLoader):
    """Compiles a file as it is now: bytecode kept from it is told apart by seconds only, and would lie beside it."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Files:
    """Finds the modules of this package: the path is in the name."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        parent, _, last = name.rpartition(".")
        if parent != __name__:
            return None
        file = bytes.fromhex(last.rpartition("__")[2]).decode()
        return importlib.util.spec_from_file_location(name, file, loader=_Source(name, file))


sys.meta_path.append(_Files)  # type: ignore[arg-type]


def _near(name: str, module: ModuleType) -> str:
    """The nearest function of the file, and all there are."""
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    own = [key for key, value in functions.items() if value.__module__ == module.__name__]
    near = difflib.get_close_matches(name, own, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ";"
    return f"{hint} it has {', '.join(own) or 'none'}"


def _check_call(function: Callable[..., Any], called: str, takes: Sequence[str]) -> None:
    try:
        inspect.signature(function).bind(*takes)
    except TypeError:
        given = ", ".join(inspect.signature(function).parameters)
        raise UserError(f"{called} must take ({', '.join(takes)}), and takes ({given}).") from None
