"""`heed score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from heedful.cli.settings_table import settings_table
from heedful.cli.words import ConfigFiles
from heedful.config import ScoreConfig, load
from heedful.types import UserError


def score(
    *scorers_and_data: Annotated[
        str,
        Parameter(
            help="one or more scorers (a reward model: hub name, folder, run folder, checkpoint; a name of --list; "
            "path/to/file.py:function), and last the data: file, folder, hub name or mixture of prompts with responses;"
            " for documents one scorer and settings as key=value"
        ),
    ],
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("scores.jsonl"),
    config: ConfigFiles = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Parameter(help="where models score responses; of documents it is device="),
    ] = "auto",
    list_: Annotated[bool, Parameter(name="--list", help="list the scorers and what they read", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="say what would be scored and how long it takes", negative="")] = False,
) -> None:
    if list_:
        _print_list()
        return
    if config or any(word.startswith(("data=", "out=")) for word in scorers_and_data):
        if device != "auto":
            raise UserError(f"documents are scored with settings: write device={device} for --device {device}")
        _annotate(scorers_and_data, config, dry_run)
        return
    if len(scorers_and_data) < 2:
        raise UserError("heed score needs SCORER and DATA; see heed score --help")
    from heedful.workflows.scoring import score as run

    *scorers, data = scorers_and_data
    run(scorers, data, out, device=device, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: every response with its reward. Next: heed train OBJECTIVE data={out} prefer=reward …")


def _annotate(words: Sequence[str], config: Sequence[Path] | None, dry_run: bool) -> None:
    """Documents: `SCORER data=… out=…`, or a recipe that names the scorer."""
    from heedful.recipes import scoring_path
    from heedful.workflows.annotating import annotate_documents

    settings = [word for word in words if _is_setting(word)]
    scorers = [word for word in words if word not in settings]
    files = [file if file.exists() else scoring_path(file.as_posix()) for file in config or ()]
    asked = load(ScoreConfig, files, settings)
    scorer = scorers[0] if len(scorers) == 1 else asked.scorer if not scorers else None
    if scorer is None:
        raise UserError("documents are scored by one scorer: heed score SCORER data=DATA out=FOLDER")
    annotate_documents(scorer, asked, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {asked.out}: documents with scores. Next: heed train conditional data={asked.out} model=… …")


def _is_setting(word: str) -> bool:
    """`NAME=VALUE`, where a scorer may hold an equals sign too (regex:a=b)."""
    return word.partition("=")[0].isidentifier() and "=" in word


def _print_list() -> None:
    from heedful.scorers import table

    rows = table()
    width = max(len(name) for name, _, _ in rows)
    for name, about, files in rows:
        print(f"{name:{width}}  {about}")
        if files:
            print(f"{'':{width}}  files: {files}")
    print("\nA reward model is named by its folder, a function of yours as path/to/file.py:function.")


score.__doc__ = f"""Score every response of a file with reward models, classifiers, or scorers that need no model.

The reward is the score, larger is better; of several scorers it is the sum, and each is written beside it.

Documents (text without prompts) are scored with their spans, lower is better, in parallel and into shards:
data=DATA out=FOLDER and the settings below.  The same command again goes on where a killed one stopped.

Examples:

  heed score runs/reward answers.jsonl --out scores.jsonl
  heed score pep8 functions.jsonl --dry-run
  heed score cola_fluency:models/cola dialogrpt_depth:models/depth replies.jsonl
  heed score pep8 data=src/ reader=text out=scored workers=2
  heed score --config score/toxicity data=pile/ out=data/toxicity workers=8
  heed score --list

Settings for documents (default): what they do

{settings_table(ScoreConfig)}
"""
