"""`heed report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    *runs: Annotated[Path, Parameter(help="run folders")],
    out: Annotated[Path | None, Parameter(help="the HTML file; default report.html in the (first) run folder")] = None,
    x: Annotated[str, Parameter(help="what curves are drawn over: step, tokens, tokens_seen or epoch")] = "step",
) -> None:
    """Write one self-contained HTML file about one or several runs: curves, settings, samples.

    Example:

      heed report runs/dpo runs/kto --out compare.html
    """
    from heedful.reports import report as write
    from heedful.types import UserError

    if not runs:
        raise UserError("name a run folder: heed report runs/NAME")
    print(f"Wrote {write(list(runs), out, x=x)}. Open it in any browser.")
