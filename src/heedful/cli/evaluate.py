"""`heed evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.cli.words import ConfigFiles, DryRun, files_of
from heedful.types import UserError

Model = Annotated[str, Parameter(help="hub name (name@revision), folder, run folder or checkpoint")]
Words = Annotated[str, Parameter(help="a recipe's name (its `watch` counts), and settings as key=value")]


def evaluate(
    model: Model,
    /,
    *words: Words,
    config: ConfigFiles = None,
    out: Annotated[Path, Parameter(help="folder to write")] = Path("evaluation"),
    dry_run: DryRun = False,
) -> None:
    """Sample from a model in scenarios, score the samples, and measure its distance to a reference model.

    What is asked stands under `watch`, as in a run's settings: watch.scorer, watch.scenarios, watch.kl.
    Settings beside it are seed, device and cache_dir.  What a recipe looks at must lie here: its first lines, as heed
    recipes NAME prints them, say how its prompts are made.

    Examples:

      heed evaluate runs/conditional phf/pep8-stdlib/conditional --out looked

      heed evaluate my/model --config watch.yaml seed=1
    """
    from heedful.recipes import recipe_path
    from heedful.workflows.evaluating import evaluate as run
    from heedful.workflows.evaluating import read_request

    files = [*(recipe_path(word) for word in words if "=" not in word), *files_of(config)]
    asked = read_request(files, [word for word in words if "=" in word])
    if asked.watch is None:
        raise UserError("nothing to look at: name a recipe or a --config file with `watch`, see docs/watching.md")
    run(model, asked.watch, out, seed=asked.seed, device=asked.device, cache_dir=asked.cache_dir, dry_run=dry_run)
    if not dry_run:
        print(f"Wrote {out}: evaluation.json, watched.jsonl, report.html.")
