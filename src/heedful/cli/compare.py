"""`heed compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.cli.settings_table import settings_table
from heedful.cli.words import ConfigFiles, DryRun, files_of
from heedful.config import CompareConfig
from heedful.types import UserError

What = Annotated[
    str, Parameter(help="objectives, recipes, file.py:function, chains as sft+dpo; and settings as key=value")
]
Runs = Annotated[
    list[Path] | None,
    Parameter(name="--from", help="run folders: tabulate them instead of training", consume_multiple=True, negative=""),
]


def compare(*words: What, config: ConfigFiles = None, from_: Runs = None, dry_run: DryRun = False) -> None:
    objectives = [word for word in words if "=" not in word]
    settings = [word for word in words if "=" in word]
    if from_ is not None:
        # `--from a b out=c`: what follows runs may be settings.
        settings += [str(path) for path in from_ if "=" in str(path) and not path.exists()]
        runs = [path for path in from_ if "=" not in str(path) or path.exists()]
        _tabulate(runs, objectives, settings)
        return
    from heedful.workflows.compare import compare as run

    run(objectives, settings, files_of(config), dry_run=dry_run)


def _tabulate(runs: list[Path], objectives: list[str], settings: list[str]) -> None:
    from heedful.workflows.compare_runs import tabulate

    values = dict(word.split("=", 1) for word in settings)
    if objectives or values.keys() - {"out"}:
        extra = [*objectives, *(f"{key}={value}" for key, value in values.items() if key != "out")][0]
        raise UserError(f"{extra}: heed compare --from takes finished runs and out=FOLDER, nothing else")
    tabulate(runs, Path(values.get("out", "comparison")))


compare.__doc__ = f"""Train objectives from the same model on the same data, and say what came of each, in one report.

Examples:

  heed compare sft dpo kto slic model=my/model data=pairs.jsonl eval_fraction=0.1 evaluate=runs/reward
  heed compare dpo kto after=sft dpo.beta=0.05,0.1,0.3 kto.lr=1e-6 model=M data=D eval_data=E evaluate=length
  heed compare --config comparison.yaml --dry-run
  heed compare --from runs/dpo runs/kto out=table

All runs share the tokenised data, the reference log-probabilities, the order of
the data and the budget. The same command continues a comparison that was
stopped, and more objectives may join it. Settings of heed train hold for every
run; OBJECTIVE.NAME=VALUE for one, and values with commas between them for as
many runs. In a file: objectives: [sft, dpo], and dpo: {{beta: 0.05,0.1}}.

Settings beside those of heed train (default): what they do

{settings_table(CompareConfig)}
"""
