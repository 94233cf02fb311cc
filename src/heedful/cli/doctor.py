"""`heed doctor`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def doctor(
    *, cache_dir: Annotated[str | None, Parameter(help="cache folder to try; default ~/.cache/heedful")] = None
) -> None:
    """Say what this machine has and what is missing; exit status 1 if something stands in the way.

    Example:

      heed doctor
    """
    from heedful import __version__
    from heedful.types import RunError
    from heedful.workflows.doctor import examine

    facts = examine(cache_dir)
    print(f"{'heedful':18}{__version__}")
    for fact in facts:
        print(f"{fact.name:18}{fact.value}" + (f"   ! {fact.mend}" if fact.mend else ""))
    wrong = [fact.name for fact in facts if fact.mend]
    if wrong:
        raise RunError(f"something stands in the way: {', '.join(wrong)} (see the lines marked !)")
    print("Nothing stands in the way. Next: heed demo --quick")
