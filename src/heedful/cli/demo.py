"""`heed demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    *,
    out: Annotated[Path, Parameter(help="folder for everything the demo makes; a second run continues there")] = Path(
        "demo"
    ),
    seed: Annotated[int, Parameter(help="seed of every stage")] = 0,
    quick: Annotated[
        bool, Parameter(help="a smaller model and less data: under 90 seconds, weaker results", negative="")
    ] = False,
    dry_run: Annotated[bool, Parameter(help="list the stages and stop", negative="")] = False,
) -> None:
    """Make a small model better with feedback, from nothing: the source code of Python's standard library and PEP 8.

    Trains a base model, samples from it, scores the samples, learns a reward
    model, aligns the model by several methods, samples again and writes a table
    and report.html. Needs no network; about ten minutes on two cores.

    Examples:

      heed demo

      heed demo --quick --out /tmp/demo --seed 1
    """
    from heedful.workflows.demo import run

    run(out=out, seed=seed, quick=quick, dry_run=dry_run)
