"""`heed score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def score(
    model: Annotated[str, Parameter(help="a reward model: hub name, folder, run folder or checkpoint")],
    data: Annotated[str, Parameter(help="file, folder, hub name or mixture of prompts with responses")],
    /,
    *,
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("scores.jsonl"),
) -> None:
    """Score every response of a file with a reward model; larger is better.

    Example:

      heed score runs/reward answers.jsonl --out scores.jsonl
    """
    from heedful.workflows.scoring import score as run

    run(model, data, out)
    print(f"Wrote {out}: every response with its reward.")
