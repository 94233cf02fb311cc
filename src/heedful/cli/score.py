"""`heed score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def score(
    judge: Annotated[
        str,
        Parameter(
            help="a reward model (hub name, folder, run folder, checkpoint), or pep8, parses, length, or "
            "path/to/file.py:function"
        ),
    ],
    data: Annotated[str, Parameter(help="file, folder, hub name or mixture of prompts with responses")],
    /,
    *,
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("scores.jsonl"),
    dry_run: Annotated[bool, Parameter(help="say what would be scored and how long it takes", negative="")] = False,
) -> None:
    """Score every response of a file with a reward model, or with a scorer that needs none; larger is better.

    Examples:

      heed score runs/reward answers.jsonl --out scores.jsonl
      heed score pep8 functions.jsonl --dry-run
    """
    from heedful.workflows.scoring import score as run

    run(judge, data, out, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: every response with its reward. Next: heed train OBJECTIVE data={out} prefer=reward …")
