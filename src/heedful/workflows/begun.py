"""Work in a folder that a killed command goes on with: what it was asked is kept, and nothing else takes its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heedful.types import UserError
from heedful.workflows.tables import write_json


def begin(out: Path, asked: Mapping[str, Any], path: Path) -> bool:
    """Keep what is asked in `path`, inside `out`; whether the same was begun before.

    Raises UserError where something else was begun, and for a folder of other files.
    """
    if path.exists():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise UserError(f"{path} is damaged; name another folder with out=, or delete {out}.") from None
        for name, value in asked.items():
            if before.get(name) != value:
                raise UserError(
                    f"{out} was begun with {name}={before.get(name)}, not {name}={value}; name another folder with "
                    "out=, or delete that one."
                )
        return True
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} holds other files; name an empty folder with out=.")
    write_json(path, dict(asked))
    return False
