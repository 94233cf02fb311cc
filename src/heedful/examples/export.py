"""Writing Examples for others: our own schema, or one of TRL's data set formats (columns exactly as TRL names them).

Chat data is written conversational (lists of turns), plain data standard (texts).  TRL's reward trainer subtracts a
column named `margin` in its loss, so one is written only where it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.config.suggest import did_you_mean
from heedful.examples.io import replacing, write_jsonl, write_parquet, write_rows
from heedful.examples.rows import Row
from heedful.examples.shape import Dropped, Prefer, Shaped, to_demonstrations, to_pairs, to_singles
from heedful.types import TEXT, Example, Message, Response, UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True)
class Exported:
    """rows: how many were written; dropped, notes: what was not, and what should be known (as of `shape`)."""

    path: str
    rows: int
    dropped: list[Dropped]
    notes: list[str]


def export(
    examples: Sequence[Example],
    path: str | os.PathLike[str],
    kind: str = "heedful",
    *,
    prefer: Prefer = "human",
    margin: bool = False,
) -> Exported:
    """Writes `examples` as `kind` to a .jsonl, .jsonl.gz or .parquet file, which appears whole or not at all.

    kind: `heedful` (our schema, lossless), `language-modeling`, `prompt-only`, `prompt-completion`, `preference` or
    `unpaired`.  Comparisons give their best response, their pairs or their labelled responses, as the kind needs.
    margin: adds the column `margin` to a preference set; every pair must have one.
    Raises UserError for an unknown kind or suffix, and for data that is partly chat and partly plain text.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: the name must end in {', '.join(SUFFIXES)}, which says what is written.")
    if kind == "heedful":
        write = write_parquet if path.suffix == ".parquet" else write_jsonl
        return Exported(str(path), write(examples, path), [], [])
    if kind not in KINDS:
        there = ", ".join(("heedful", *KINDS))
        raise UserError(f"no format is called {kind!r}{did_you_mean(kind, KINDS)} (there are: {there}).")
    if margin and kind != "preference":
        raise UserError(f"margin is a column of preference sets, and {kind!r} is none.")
    shaped, rows = _rows(examples, kind, prefer)
    if margin:
        rows = [{**row, "margin": _margin(example)} for row, example in zip(rows, shaped.examples, strict=True)]
    if not rows:
        reasons = sorted({dropped.reason for dropped in shaped.dropped})
        raise UserError(f"nothing can be written as {kind!r}: {'; '.join(reasons) or 'there are no examples'}.")
    return Exported(str(path), _write(rows, path), shaped.dropped, shaped.notes)


def _rows(examples: Sequence[Example], kind: str, prefer: Prefer) -> tuple[Shaped, list[Row]]:
    """The Examples in the kind's shape, and the rows they give."""
    to_shape, to_rows, needs_prompt = KINDS[kind]
    shaped = to_shape(examples) if to_shape is Shaped else to_shape(examples, prefer=prefer)
    chat = _is_chat(shaped.examples)
    kept = Shaped([], list(shaped.dropped), shaped.notes)
    for example in shaped.examples:
        if not example.prompt and (needs_prompt or chat):
            kept.drop(example, "no prompt")
        else:
            kept.examples.append(example)
    return kept, [row for example in kept.examples for row in to_rows(example, _turns if chat else _text)]


def _is_chat(examples: Iterable[Example]) -> bool:
    """Whether the data is chat; raises UserError if only part of it is, since a column has one type."""
    origins: dict[bool, str | None] = {}
    for example in examples:
        for message in (*example.prompt, *(turn for response in example.responses for turn in response.messages)):
            origins.setdefault(message.role != TEXT, example.origin)
    if len(origins) > 1:
        raise UserError(
            f"the data is partly chat ({origins[True]}) and partly plain text ({origins[False]}); convert each alone."
        )
    return True in origins


Cell = Callable[[list[Message]], Any]


def _turns(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _text(messages: list[Message]) -> str:
    return "".join(message.content for message in messages)


def _language_modeling(example: Example, cell: Cell) -> list[Row]:
    return [{"messages" if cell is _turns else "text": cell([*example.prompt, *example.responses[0].messages])}]


def _prompt_only(example: Example, cell: Cell) -> list[Row]:
    return [{"prompt": cell(example.prompt)}]


def _prompt_completion(example: Example, cell: Cell) -> list[Row]:
    return [{"prompt": cell(example.prompt), "completion": cell(example.responses[0].messages)}]


def _preference(example: Example, cell: Cell) -> list[Row]:
    chosen, rejected = example.responses
    return [{"prompt": cell(example.prompt), "chosen": cell(chosen.messages), "rejected": cell(rejected.messages)}]


def _unpaired(example: Example, cell: Cell) -> list[Row]:
    prompt = cell(example.prompt)

    def row(response: Response) -> Row:
        return {"prompt": prompt, "completion": cell(response.messages), "label": response.desirable}

    return [row(response) for response in example.responses]


KINDS: dict[str, tuple[Callable[..., Shaped], Callable[[Example, Cell], list[Row]], bool]] = {
    "language-modeling": (to_demonstrations, _language_modeling, False),
    "prompt-only": (Shaped, _prompt_only, True),
    "prompt-completion": (to_demonstrations, _prompt_completion, False),
    "preference": (to_pairs, _preference, False),
    "unpaired": (to_singles, _unpaired, False),
}
"""TRL's formats: how the data is shaped, the rows an Example gives, whether a prompt must be there."""


def _margin(example: Example) -> float:
    if example.margin is None:
        raise UserError(f"margin is asked for, and the pair at {example.origin} has none.")
    return example.margin


def _write(rows: list[Row], path: Path) -> int:
    if path.suffix != ".parquet":
        return write_rows(rows, path)
    import pyarrow
    import pyarrow.parquet

    with replacing(path) as aside:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), aside)
    return len(rows)
