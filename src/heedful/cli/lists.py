"""`heed recipes` and `heed objectives`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def recipes(name: Annotated[str | None, Parameter(help="a recipe to print; all are listed without")] = None, /) -> None:
    """List the recipes with a line on each, or print one.

    Examples:

      heed recipes

      heed recipes demo/dpo
    """
    from heedful import recipes as shelf

    if name is not None:
        print(shelf.recipe_path(name).read_text(encoding="utf-8"), end="")
        return
    _print_columns([(each, shelf.about(each)) for each in shelf.names()])
    print("\nUse one: heed train OBJECTIVE RECIPE model=… data=…   Read one: heed recipes RECIPE")


def objectives(
    name: Annotated[str | None, Parameter(help="an objective to describe: a name or path/to/file.py:function")] = None,
    /,
) -> None:
    """List the objectives with what they need, or describe one with its settings.

    Examples:

      heed objectives

      heed objectives dpo

      heed objectives my.py:my_loss
    """
    from heedful.workflows.catalogue import describe, table

    if name is not None:
        print(describe(name))
        return
    _print_columns([("objective", "family", "data", "needs", "source"), *table()])
    print("\nIts settings: heed objectives NAME   Train: heed train NAME model=… data=…   Yours: heed train my.py:loss")


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
