"""`heed recipes` and `heed objectives`."""

from __future__ import annotations

import itertools
from typing import Annotated

from cyclopts import Parameter


def recipes(name: Annotated[str | None, Parameter(help="a recipe to print; all are listed without")] = None, /) -> None:
    """List the recipes by folder, with a line on each and what it needs, or print one.

    Examples:

      heed recipes

      heed recipes lol/hh

      heed recipes demo/dpo
    """
    from heedful import recipes as shelf

    folders = [folder for folder in shelf.FOLDERS if name is None or f"{folder}/".startswith(f"{name}/")]
    if folders or name is None:
        for folder in folders:
            _print_folder(folder)
        print(MIXING)
        return
    finders = {shelf.PREPARE: shelf.preparation_path, shelf.SCORE: shelf.scoring_path}
    path = finders.get(name.partition("/")[0], shelf.recipe_path)(name)
    print(path.read_text(encoding="utf-8"), end="")


MIXING = """Use one:   heed train OBJECTIVE RECIPE key=value…   heed recipes RECIPE prints it, heed recipes FOLDER lists
Mix some:  heed train kto models/pythia-1.4b halos/kto data=…    settings merge key by key and the later wins, so that
           any loss goes with any model; --config models/pythia-1.4b --config halos/kto says the same
After SFT: heed train sft models/pythia-1.4b halos/archangel/sft out=runs/sft
           heed train kto halos/archangel/kto model=runs/sft"""
"""How recipes are used, under their list."""


def _print_folder(folder: str) -> None:
    from heedful import recipes as shelf
    from heedful.recipes.needs import needs_in

    print(f"{folder}/: {shelf.FOLDERS[folder]}")
    paths = sorted((shelf.FOLDER / folder).glob("*.yaml"))
    rows = [(f"  {folder}/{path.stem}", shelf.about(path)) for path in paths]
    needs = ["; ".join(dict.fromkeys(map(str, needs_in(path)))) for path in paths]
    width = max(len(name) for name, _ in rows)
    for (name, about), need in zip(rows, needs, strict=True):
        print(f"{name:{width}}  {about}")
        if need:
            print(f"{'':{width}}  needs: {need}")
    print()


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
    from heedful.workflows.catalogue import describe, entries

    if name is not None:
        print(describe(name))
        return
    shelf = entries()
    width = max(len(entry.name) for entry in shelf)
    for family, members in itertools.groupby(shelf, key=lambda entry: entry.family):
        print(f"{family}:")
        for entry in members:
            print(f"  {entry.name:{width}}  {entry.formula}")
            needs = f"needs {entry.needs}" if entry.needs else ""
            print(f"  {'':{width}}  " + "; ".join(filter(None, (f"on {entry.data}", needs, entry.source))))
        print()
    print("r: log π/π_ref of a response; w: the chosen, l: the rejected; h = r_w - r_l; more by heed objectives NAME\n")
    print("Its settings: heed objectives NAME   Train: heed train NAME model=… data=…   Yours: heed train my.py:loss")
