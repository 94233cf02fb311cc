"""`heed data`: prepare feedback, and look at it before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from heedful.cli.words import ConfigFiles, ObjectiveName, Word, resolve


def check(objective: ObjectiveName, /, *words: Word, config: ConfigFiles = None) -> None:
    """Count what a run would train on, what it would drop and why; exit status 2 if the run would be refused.

    Takes the same words as heed train, and keeps the tokens for that run.

    Example:

      heed data check dpo model=my/model data=pairs.jsonl max_length=512
    """
    from heedful.workflows.inspection import check as run

    run(resolve(objective, words, config))
    print("Nothing stands in the way. Next: heed train with the same words, or heed data show to see the tokens.")


def show(
    objective: ObjectiveName,
    /,
    *words: Word,
    config: ConfigFiles = None,
    num: Annotated[int, Parameter(help="how many examples")] = 3,
) -> None:
    """Show the tokens of some examples in colours: prompt, trained on, not trained on.

    Takes the same words as heed train.

    Example:

      heed data show dpo model=my/model data=pairs.jsonl --num 2
    """
    from heedful.workflows.inspection import show as run

    run(resolve(objective, words, config), num)


def convert(
    data: Annotated[str, Parameter(help="file, folder, hub name or mixture")],
    out: Annotated[Path, Parameter(help="file to write: .jsonl, .jsonl.gz or .parquet")],
    /,
    *,
    to: Annotated[
        Literal["heedful", "preference", "unpaired", "prompt-completion", "prompt-only", "language-modeling"],
        Parameter(help="our own schema, which loses nothing, or one of TRL's formats"),
    ] = "heedful",
    split: Annotated[str, Parameter(help="which split to read")] = "train",
    reader: Annotated[str | None, Parameter(help="name of the reader; found from the rows without")] = None,
    readers: Annotated[
        list[str] | None, Parameter(help="a reader of your own, path/to/file.py:function; may repeat", negative="")
    ] = None,
    seed: Annotated[int, Parameter(help="seed of a mixture's draws")] = 0,
) -> None:
    """Write data in our own schema or in one of TRL's formats.

    Examples:

      heed data convert helpful_base.jsonl.gz pairs.jsonl --to preference
      heed data convert hh:0.5:train.jsonl.gz half.parquet
    """
    from heedful.workflows.inspection import convert as run

    count = run(data, out, to=to, split=split, reader=reader, readers=readers or [], seed=seed)
    print(f"Wrote {out}: {count:,} rows. Next: heed data check OBJECTIVE model=MODEL data={out}")


def prepare(
    recipe: Annotated[
        str,
        Parameter(
            help="hh, comet, reddit, wow, faithdial, faithdial_wow, python_functions, package_papers, "
            "or a recipe that trains on one of them"
        ),
    ],
    /,
    *words: Annotated[str, Parameter(help="raw=FOLDER of the published files, out=FOLDER to write, other settings")],
) -> None:
    """Clean and split published files into data with rewards, and count what was left out and why.

    heed recipes prepare lists what there is; heed recipes prepare/hh shows the
    settings, the files that are read and where they are published. The same
    files, settings and seed give the same bytes.

    Examples:

      heed data prepare hh raw=downloads/pro out=data/hh

      heed data prepare lol/reddit_pos/a_lol raw=downloads/reddit out=data/reddit
    """
    from heedful.workflows.prepare import prepare as run

    out = run(recipe, words)
    print(f"Wrote {out}, its counts in {out}/report.json. Next: heed recipes, heed data check OBJECTIVE data={out}/…")
