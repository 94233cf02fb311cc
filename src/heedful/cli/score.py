"""`heed score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from heedful.types import UserError


def score(
    *scorers_and_data: Annotated[
        str,
        Parameter(
            help="one or more scorers (a reward model: hub name, folder, run folder, checkpoint; a name of --list; "
            "path/to/file.py:function), and last the data: file, folder, hub name or mixture of prompts with responses;"
            " for documents one scorer and settings: data=, out= and those below"
        ),
    ],
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("scores.jsonl"),
    list_: Annotated[bool, Parameter(name="--list", help="list the scorers and what they read", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="say what would be scored and how long it takes", negative="")] = False,
) -> None:
    """Score every response of a file with reward models, classifiers, or scorers that need no model.

    The reward is the score, larger is better; of several scorers it is the sum, and each is written beside it.

    Documents (text without prompts) are scored with their spans, lower is better, in parallel and into shards:
    data=DATA out=FOLDER, split=own|lines|sentences|none (pieces that are scored apart), workers=N,
    format=jsonl|parquet, engine=processes|ray, reader=NAME.  The same command again goes on where a killed one stopped.

    Examples:

      heed score runs/reward answers.jsonl --out scores.jsonl

      heed score pep8 functions.jsonl --dry-run

      heed score cola_fluency:models/cola dialogrpt_depth:models/depth replies.jsonl

      heed score pep8 data=src/ reader=text out=scored workers=2

      heed score --list
    """
    from heedful.workflows.scoring import score as run

    if list_:
        _print_list()
        return
    if any(word.startswith(("data=", "out=")) for word in scorers_and_data):
        _annotate(scorers_and_data, dry_run)
        return
    if len(scorers_and_data) < 2:
        raise UserError("heed score needs SCORER and DATA; see heed score --help")
    *scorers, data = scorers_and_data
    run(scorers, data, out, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: every response with its reward. Next: heed train OBJECTIVE data={out} prefer=reward …")


SETTINGS = ("data", "out", "split", "workers", "format", "engine", "reader")


def _annotate(words: Sequence[str], dry_run: bool) -> None:
    """Documents: `SCORER data=… out=…`."""
    from heedful.config import did_you_mean
    from heedful.workflows.annotating import Annotation, annotate_documents

    scorers = [word for word in words if word.partition("=")[0] not in SETTINGS and not _is_setting(word)]
    values = dict(word.split("=", 1) for word in words if word not in scorers)
    for name in values:
        if name not in SETTINGS:
            raise UserError(f"{name} is not a setting of heed score{did_you_mean(name, SETTINGS)}")
    if len(scorers) != 1 or "data" not in values or "out" not in values:
        raise UserError("documents are scored by one scorer: heed score SCORER data=DATA out=FOLDER")
    try:
        workers = int(values.pop("workers", "1"))
    except ValueError:
        raise UserError("workers must be a whole number, how many processes work") from None
    out = Path(values.pop("out"))
    data = values.pop("data")
    settings: dict[str, Any] = values
    annotate_documents(Annotation(scorers[0], data, out, workers=workers, **settings), dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: documents with scores. Next: heed train conditional data={out} model=… …")


def _is_setting(word: str) -> bool:
    """`NAME=VALUE`, where a scorer may hold an equals sign too (regex:a=b)."""
    return word.partition("=")[0].isidentifier() and "=" in word


def _print_list() -> None:
    from heedful.workflows.scoring import table

    rows = table()
    width = max(len(name) for name, _, _ in rows)
    for name, about, files in rows:
        print(f"{name:{width}}  {about}")
        if files:
            print(f"{'':{width}}  files: {files}")
    print("\nA reward model is named by its folder, a function of yours as path/to/file.py:function.")
