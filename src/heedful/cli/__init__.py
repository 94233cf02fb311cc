"""The command `heed`: lazy commands that parse, call one documented function and say what was written.

This module imports neither torch nor pydantic: `heed --help` answers at once.
"""

from heedful.cli.root import main

__all__ = ["main"]
