"""`heed redteam`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.cli.settings_table import settings_table
from heedful.cli.words import ConfigFiles, DryRun, files_of
from heedful.config import RedTeamConfig
from heedful.types import UserError


def redteam(
    model: Annotated[str, Parameter(help="the model that is attacked: folder, run folder, checkpoint or hub name")],
    /,
    *words: Annotated[str, Parameter(help="settings as key=value")],
    config: ConfigFiles = None,
    dry_run: DryRun = False,
) -> None:
    from heedful.config import load
    from heedful.workflows.redteam import redteam as run

    if "=" in model and not Path(model).exists():
        raise UserError(f"{model}: the model that is attacked comes first, as heed redteam MODEL {model}")
    if stray := next((word for word in words if "=" not in word), None):
        raise UserError(f"{stray}: settings are written key=value; one model is attacked at a time")
    run(model, load(RedTeamConfig, files_of(config), list(words)), dry_run=dry_run)


redteam.__doc__ = f"""Find prompts that make a model misbehave, by an attacker that sees the worst so far.

Examples:

  heed redteam runs/mle attacker=my/llm scorer=toxicity:unbiased
  heed redteam runs/conditional attacker=http://127.0.0.1:8000/v1#llm scorer=pep8 task=pep8 score_prompt=true

Settings (default): what they do

{settings_table(RedTeamConfig)}
"""
