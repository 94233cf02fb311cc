"""`heed value`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.cli.words import ConfigFiles, Word, resolve


def value(
    model: Annotated[str, Parameter(help="the reference policy: hub name, folder, run folder or checkpoint")],
    /,
    *words: Word,
    config: ConfigFiles = None,
) -> None:
    """Estimate what prompts are worth under a policy: the mean reward of its own answers to them.

    Takes the same words as heed train a_lol, which does this by itself with value=reference; out= is the file to write.
    value=data learns from the rewards of the data's own answers instead.  Says how well prompts foretell rewards, and
    how many responses are no better than what the policy would say itself (the leftover lunch).

    Examples:

      heed value runs/sft data=scored.jsonl rewards=pep8 out=values.jsonl
      heed train a_lol model=runs/sft data=scored.jsonl rewards=pep8 value=values.jsonl
    """
    settings = resolve("a_lol", [f"model={model}", "value=reference", *words], config)
    named = any(word.startswith("out=") for word in words)
    from heedful.workflows.reference_value import value as run

    out = run(settings, Path(settings.out) if named else Path("values.jsonl"))
    print(f"Wrote {out}: every prompt with its value. Next: heed train a_lol model={model} data=… value={out}")
