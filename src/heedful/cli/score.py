"""`heed score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.types import UserError


def score(
    *scorers_and_data: Annotated[
        str,
        Parameter(
            help="one or more scorers (a reward model: hub name, folder, run folder, checkpoint; a name of --list; "
            "path/to/file.py:function), and last the data: file, folder, hub name or mixture of prompts with responses"
        ),
    ],
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("scores.jsonl"),
    list_: Annotated[bool, Parameter(name="--list", help="list the scorers and what they read", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="say what would be scored and how long it takes", negative="")] = False,
) -> None:
    """Score every response of a file with reward models, classifiers, or scorers that need no model.

    The reward is the score, larger is better; of several scorers it is the sum, and each is written beside it.

    Examples:

      heed score runs/reward answers.jsonl --out scores.jsonl

      heed score pep8 functions.jsonl --dry-run

      heed score cola_fluency:models/cola dialogrpt_depth:models/depth replies.jsonl

      heed score --list
    """
    from heedful.workflows.scoring import score as run

    if list_:
        _print_list()
        return
    if len(scorers_and_data) < 2:
        raise UserError("heed score needs SCORER and DATA; see heed score --help")
    *scorers, data = scorers_and_data
    run(scorers, data, out, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: every response with its reward. Next: heed train OBJECTIVE data={out} prefer=reward …")


def _print_list() -> None:
    from heedful.workflows.scoring import table

    rows = table()
    width = max(len(name) for name, _, _ in rows)
    for name, about, files in rows:
        print(f"{name:{width}}  {about}")
        if files:
            print(f"{'':{width}}  files: {files}")
    print("\nA reward model is named by its folder, a function of yours as path/to/file.py:function.")
