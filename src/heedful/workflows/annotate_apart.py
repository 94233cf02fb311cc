"""A shard on which the scorer's process dies: halved until the documents that kill it stand alone, the rest scored."""

from __future__ import annotations

import time
from collections.abc import Sequence

from heedful.config.watch import Split
from heedful.scorers.documents import Judgement
from heedful.types import RunError
from heedful.workflows.annotate_shards import Done, Form, Shard, finish, judge, load_scorer
from heedful.workflows.fan_out import alone

DIED = "the scorer's process died on it"
PLAIN = "A plain text."
GIVE_UP = 20
"""If so many documents kill the scorer one after the other and it judged none before, it is the scorer's fault."""


def annotate_apart(shard: Shard, name: str, split: Split, form: Form, devices: Sequence[str]) -> tuple[Done, bytes]:
    """As `annotate`, every part in a process of its own; a document that ends its process is one that failed.

    Raises RunError for a scorer whose process dies whatever it is given.
    """
    began = time.monotonic()
    if alone(load_scorer, name, devices) is None:
        raise RunError(f"the process dies in which the scorer {name} is loaded, for want of memory perhaps.")
    if alone(judge, [{"text": PLAIN}], name, split, devices) is None:
        raise RunError(f"the process of the scorer {name} dies even on the text {PLAIN!r}.")
    found: list[Judgement | str] = []
    parts = [shard.rows]  # the next one last
    while parts:
        rows = parts.pop()
        judged = alone(judge, rows, name, split, devices)
        if judged is not None:
            found += judged
        elif len(rows) > 1:
            half = len(rows) // 2
            parts += [rows[half:], rows[:half]]
        else:
            found.append(DIED)
            if found == [DIED] * GIVE_UP:
                raise RunError(
                    f"the process of the scorer {name} died on each of {GIVE_UP} documents, the first of them "
                    f"{shard.rows[0]['origin']}; what was finished before is kept."
                )
    return finish(shard, found, name, form, began)
