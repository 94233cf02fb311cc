"""A project as a data set for the Hugging Face hub: Parquet, a card, the guidelines, and what is needed to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection

from heedful.examples.io import replacing
from heedful.labelling.exporting import Asked, Export, export
from heedful.labelling.projects import Project, get_project
from heedful.types import UserError

CARD = """---
{header}---

# {name}

{rows} in TRL's format, from {answers:,} answers of {labellers:,} people to {items:,} items, collected and exported with
Heedful.

## Structure

| column | what it holds |
|---|---|
{columns}

Rows of one prompt are in one split.  `meta` names the item, its prompt's group, how many people answered, the share
that agreed and how the answers became one.

## What stayed out

{left_out}

## Agreement

```json
{agreement}
```

## Questions and settings

```yaml
{project}```

## Guidelines

{guidelines}

## Bring it back

    heed label create {slug} --config project.yaml --guidelines guidelines.md
    heed label import {slug} data/train.parquet
"""

COLUMNS = {
    "prompt": "turns of the conversation so far: role, content",
    "chosen": "turns of the better response",
    "rejected": "turns of the other response",
    "completion": "turns of the response",
    "label": "whether the response is good",
    "meta": "where the row comes from, as above",
}


def write_hub_folder(connection: Connection, slug: str, folder: Path, asked: Asked) -> Export:
    """Write data/train.parquet, data/test.parquet (held out), README.md, guidelines.md, project.yaml and manifest.json.

    Raises UserError for a folder that is not empty, a format that is no training data, and if nothing can be exported.
    """
    if asked.format not in ("trl", "kto"):
        raise UserError(f"a data set for the hub is trl or kto, not {asked.format!r}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; name a new folder.")
    found, done = get_project(connection, slug), export(connection, slug, asked)
    if not done.lines:
        raise UserError(f"{slug}: nothing can be exported as {asked.format}.")
    (folder / "data").mkdir(parents=True)
    for name, rows in (("train", done.rows), ("test", done.held_out)):
        if rows:
            _write_parquet(rows, folder / "data" / f"{name}.parquet")
    plain = {
        "questions": found.questions.model_dump(mode="json", exclude_none=True),
        "settings": found.settings.model_dump(mode="json"),
    }
    texts = {
        "README.md": card(found, done, plain),
        "guidelines.md": found.guidelines,
        "project.yaml": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True),
        "manifest.json": json.dumps(done.manifest, indent=1) + "\n",
    }
    for name, text in texts.items():
        with replacing(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return done


def push_hub_folder(folder: Path, name: str, *, private: bool = True) -> str:
    """Push what `write_hub_folder` wrote to the hub as the data set `name`; its address.

    Raises UserError, with the hub's reason, where that cannot be done: no login, no such organisation, no connection.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, repo_type="dataset", commit_message="Labels")
    except Exception as problem:  # of whatever library the hub's client speaks HTTP with
        reason = " ".join(str(problem).split())[:300].rstrip(".")
        raise UserError(f"{name} cannot be pushed, and stays in {folder}: {reason}.") from None
    return str(address)


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    with replacing(path) as aside:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), aside)


def card(found: Project, done: Export, plain: dict[str, Any]) -> str:
    """The data set's README with the header that the hub reads."""
    splits = [{"split": "train", "path": "data/train.parquet"}]
    splits += [{"split": "test", "path": "data/test.parquet"}] if done.held_out else []
    header = {"pretty_name": found.name, "tags": ["preference", "heedful", "trl"]}
    header["configs"] = [{"config_name": "default", "data_files": splits}]
    manifest = done.manifest
    left_out = [f"- {count:,}: {reason}" for reason, count in manifest["left_out"].items()]
    return CARD.format(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True),
        name=found.name,
        slug=found.slug,
        rows=f"{len(done.lines) + len(done.lines_held_out):,} rows",
        answers=manifest["answers"],
        labellers=manifest["labellers"],
        items=manifest["items"]["in"],
        columns="\n".join(f"| `{name}` | {COLUMNS[name]} |" for name in done.rows[0] if name in COLUMNS),
        left_out="\n".join(left_out) or "Nothing.",
        agreement=json.dumps(manifest["agreement"], indent=1),
        project=yaml.safe_dump(plain, sort_keys=False, allow_unicode=True),
        guidelines=found.guidelines or "None were written.",
    )
