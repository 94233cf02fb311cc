"""From labelling to training: `data=label:PROJECT`, and a reward model's scores back into the queue."""

from __future__ import annotations

import os
from math import exp
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, insert, select

from heedful.config import TrainConfig
from heedful.labelling.database import Database, now
from heedful.labelling.events import CLI, record
from heedful.labelling.export_files import write
from heedful.labelling.exporting import Asked, export, sealed
from heedful.labelling.items import responses_of
from heedful.labelling.new_items import messages_of
from heedful.labelling.projects import get_project
from heedful.labelling.questions import competition_ranks
from heedful.labelling.slots import set_priorities
from heedful.labelling.tables import item, suggestion
from heedful.scorers import Scorer
from heedful.types import Echo, Example, Response, UserError

PREFIX = "label:"
UNDECIDED = "nothing was decided on it"
DATABASE = "HEEDFUL_LABELS"
"""Environment variable that names the database where `--db` does not."""
DEFAULT = "labels.db"
FOLDER = "labels"


def database_name(given: str | None = None) -> str:
    """The database that is meant: what is given, else what the environment names, else labels.db here."""
    return given or os.environ.get(DATABASE) or DEFAULT


def with_labels(config: TrainConfig, echo: Echo) -> TrainConfig:
    """The settings with every `label:PROJECT` of `data` replaced by a file of the answers as they are now.

    The file lies beside the run folder and is named by its content.  A run that is continued keeps the answers with
    which it began.  Raises UserError for an unknown project, and for one in which nothing is decided.
    """
    found = {name: getattr(config, name) for name in ("data", "eval_data")}
    if not any(_is_label(entry) for value in found.values() for entry in _entries(value)):
        return config
    kept = _kept(config)
    if kept is not None:
        return config.model_copy(update={name: value for name, value in kept.items() if found[name] is not None})
    db = Database(database_name(), create=False)
    try:
        changed = {name: _replaced(value, db, Path(config.out).parent / FOLDER, echo) for name, value in found.items()}
    finally:
        db.close()
    return config.model_copy(update=changed)


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_label(entry: Any) -> bool:
    return isinstance(entry, str) and entry.startswith(PREFIX)


def _kept(config: TrainConfig) -> dict[str, Any] | None:
    """What a run that is there already was given, unless it is to be overwritten."""
    from heedful.config.load import read_yaml

    saved = Path(config.out) / "config.yaml"
    if config.overwrite or not saved.exists():
        return None
    whole = read_yaml(saved)
    return {name: whole.get(name) for name in ("data", "eval_data")}


def _replaced(value: Any, db: Database, folder: Path, echo: Echo) -> Any:
    files = [_exported(entry, db, folder, echo) if _is_label(entry) else entry for entry in _entries(value)]
    return files if isinstance(value, list) else files[0] if files else value


def _exported(entry: str, db: Database, folder: Path, echo: Echo) -> str:
    slug = entry.removeprefix(PREFIX)
    with db.read() as connection:
        done = export(connection, slug, Asked("heedful"))
    decided = [line for line in done.lines if _says_something(orjson.loads(line))]
    if not decided:
        raise UserError(f"{entry}: nothing is decided yet in this project ({done.manifest['answers']:,} answers).")
    items, left_out = {**done.manifest["items"], "out": len(decided)}, dict(done.manifest["left_out"])
    if len(decided) < len(done.lines):
        left_out[UNDECIDED] = len(done.lines) - len(decided)
    done = sealed(decided, [], {**done.manifest, "items": items, "left_out": left_out})
    out = folder / f"{slug}-{done.manifest['sha256']['train'][:12]}.jsonl"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with db.write() as connection:
            write(done, out, connection)
    echo(f"{entry}: {len(decided):,} items of {done.manifest['items']['in']:,} are decided and in {out}")
    return str(out)


def _says_something(row: dict[str, Any]) -> bool:
    """Whether people gave an item any label; those that its data brought are not theirs."""
    decided = row["extra"]["labelling"]["decided"]
    if ("preference" in decided and "better" in row) or ("safer" in decided and "safer" in row):
        return True
    labels = {"thumbs": "desirable", "safety": "safe", "ranking": "rank"}
    theirs = [label for question, label in labels.items() if question in decided]
    return any(label in one for one in row["responses"] for label in theirs)


def suggest(db: Database, slug: str, scorer: Scorer, name: str, *, echo: Echo = print) -> int:
    """Write a model's scores of all open items as suggestions, and put those it is unsure of first in the queue.

    Of two responses the preferred one is suggested, with P(it is better) by
    Bradley-Terry; uncertainty is how close that is to a half, of more responses that of the two best.
    Returns how many items were scored.
    """
    with db.read() as connection:
        found = get_project(connection, slug)
        asked = select(item).where(item.c.project_id == found.id, item.c.state == "open", item.c.kind == "normal")
        rows = connection.execute(asked.order_by(item.c.position)).all()
        responses = responses_of(connection, [row.id for row in rows])
    examples = [
        Example(messages_of(row.prompt), [Response(messages_of(one.content)) for one in responses[row.id]])
        for row in rows
    ]
    scores = [[scorer.reward(score) for score in given] for given in scorer.examples(examples)]
    values, priorities = [], {}
    for row, given in zip(rows, scores, strict=True):
        keys = [one.key for one in responses[row.id]]
        ordered = sorted(zip(given, keys, strict=True), key=lambda pair: -pair[0])
        ranks = competition_ranks({key: -score for score, key in ordered})
        said: dict[str, Any] = {"scores": dict(zip(keys, given, strict=True))}
        sure = 1.0
        if len(ordered) > 1:
            sure = 1 / (1 + exp(min(700.0, ordered[1][0] - ordered[0][0])))
            said["ranking"] = {"ranks": ranks}
            priorities[row.id] = 1 - 2 * abs(sure - 0.5)
        if len(ordered) == 2:
            said["preference"] = {"winner": ordered[0][1] if ordered[0][0] > ordered[1][0] else None}
        values.append({"item_id": row.id, "agent": name[:128], "value": said, "score": sure, "at": now()})
    with db.write() as connection:
        ids = select(item.c.id).where(item.c.project_id == found.id)
        connection.execute(delete(suggestion).where(suggestion.c.agent == name[:128], suggestion.c.item_id.in_(ids)))
        if values:
            connection.execute(insert(suggestion), values)
        set_priorities(connection, slug, priorities)
        record(connection, CLI, "items.suggest", "project", slug, {"agent": name, "items": len(values)})
    if found.settings.assign != "priority":
        echo("The project gives work out in another order than by priority: set assign to priority to use it.")
    return len(values)
