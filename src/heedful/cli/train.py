"""`heed train`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from heedful.cli.settings_table import settings_table
from heedful.cli.words import ConfigFiles, DryRun, ObjectiveName, Word, resolve
from heedful.config import TrainConfig


def train(objective: ObjectiveName, /, *words: Word, config: ConfigFiles = None, dry_run: DryRun = False) -> None:
    # A mistake is told before anything heavy is imported.
    settings = resolve(objective, words, config, trains=not dry_run)
    from heedful.training.train import train as run
    from heedful.workflows.reference_value import find_values
    from heedful.workflows.watching import make_watch

    if "label:" in f"{settings.data} {settings.eval_data}":
        from heedful.workflows.labels import with_labels

        settings = with_labels(settings, print)
    watch = make_watch(settings, print)
    folder = run(settings, dry_run=dry_run, find_values=partial(find_values, dry_run=dry_run), watch=watch)
    if not dry_run and os.environ.get("RANK", "0") == "0":
        use = "score" if settings.objective.name == "reward" else "sample"
        print(f"The model is in {folder}/final, its curves in {_report(folder)}.")
        print(f"Next: heed {use} {folder} FILE   heed report {folder} ANOTHER_RUN")


def _report(run: Path) -> Path:
    """The run's report.html, written if training has gone on since."""
    from heedful.reports import report

    page, metrics = run / "report.html", run / "metrics.jsonl"
    up_to_date = page.exists() and page.stat().st_mtime >= metrics.stat().st_mtime
    return page if up_to_date else report([run])


train.__doc__ = f"""Train a model on feedback by an objective, into a run folder that resumes where it was stopped.

Examples:

  heed train dpo model=my/model data=pairs.jsonl lr=5e-6 beta=0.1
  heed train kto demo/kto --config mine.yaml out=runs/kto --dry-run
  torchrun --nproc-per-node 2 -m heedful train sft model=M data=D engine=fsdp2

Settings come from the recipe, then each --config file, then key=value words;
they merge key by key and the later wins. An objective's own settings are
objective.NAME=VALUE, or NAME=VALUE where only one setting has that name;
heed objectives OBJECTIVE lists them.  In a file, settings stand beside the
name:  objective: {{name: dpo, beta: 0.1}}.  A list is [a,b]; nothing is null.

Settings (default): what they do

{settings_table(TrainConfig)}
"""
