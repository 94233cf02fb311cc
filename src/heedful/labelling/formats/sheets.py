"""Tables for a spreadsheet, which are written as CSV: a pair a row, or an answer a row, which comes back.

In `answers-csv` an answer has a column for each part of it (`preference`, `rank-r0`, `rating-helpful-r1`, …), the names
being those of Argilla's questions.  A prompt or response is a text where it is one turn by whoever is expected, and a
JSON list of turns elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heedful.labelling.consensus import Decided
from heedful.labelling.formats.argilla import questions_asked
from heedful.labelling.formats.argilla_values import gathered, spread
from heedful.labelling.formats.training import UNANSWERED, Shape, preference
from heedful.labelling.new_items import Given, NewItem, NewResponse, response_keys
from heedful.labelling.questions import Questions, Value, competition_ranks
from heedful.types import TEXT, Message, UserError

Row = dict[str, Any]
ABOUT = ("item", "group", "n", "agreement", "confidence", "method", "strength", "chosen_source", "rejected_source")
ABOUT += ("project", "version")
WHOLE = re.compile(r"strength|confidence|(?:rank|rating|severity)-.+")
"""Columns of whole numbers."""
LISTED = re.compile(r"harms-.+")


def pairs(one: Decided, shape: Shape) -> list[Row] | str:
    """TRL's pairs as plain texts, with what stands in `meta` in columns of their own."""
    rows = preference(one, replace(shape, style="standard", ties="drop"))
    if isinstance(rows, str):
        return rows
    margin = ("margin",) if shape.margin else ()
    return [
        {name: row.get(name) for name in ("prompt", "chosen", "rejected", *margin)}
        | {name: row["meta"].get(name) for name in ABOUT}
        for row in rows
    ]


def columns(asked: Questions, keys: Sequence[str]) -> list[str]:
    """The columns of the parts of answers to responses that are called so."""
    names = [question["name"] for question in questions_asked(asked, keys)]
    return [one for name in names for one in ([f"rank-{key}" for key in keys] if name == "ranking" else [name])]


def answers(one: Decided, shape: Shape, *, asked: Sequence[str], keys: Sequence[str]) -> list[Row] | str:
    """Everybody's answer, in the order in which they were given.

    asked: the columns of parts of answers.  keys: of the item with the most responses.
    """
    texts: Row = {"prompt": _cell(one.prompt, "user")}
    there = {response.key: response for response in one.responses}
    for key in keys:
        texts[key] = _cell(there[key].content, "assistant") if key in there else None
        texts[f"{key}_source"] = there[key].source if key in there else None
    rows = []
    for answer in sorted(one.answers, key=lambda answer: (answer.at or 0.0, answer.labeller)):
        seconds = None if answer.wall_ms is None else answer.wall_ms / 1000
        who = {"labeller": answer.labeller, "at": answer.at, "seconds": seconds, "version": answer.version}
        parts = _parts(answer.value)
        rows.append({"item": one.external_id, **who, **{name: parts.get(name) for name in asked}, **texts})
    return rows or UNANSWERED


def _parts(value: Value) -> Row:
    parts = {name: json.dumps(said) if isinstance(said, list) else said for name, said in spread(value).items()}
    parts |= {f"rank-{key}": rank for key, rank in value.get("ranking", {}).get("ranks", {}).items()}
    return parts


def _cell(turns: Sequence[dict[str, str]], role: str) -> str:
    if not turns:
        return ""
    first = turns[0]["content"]
    if len(turns) == 1 and turns[0]["role"] in (role, TEXT) and first and not first.startswith("[{"):
        return first
    return json.dumps(turns, ensure_ascii=False)


def item_of(origin: str, row: Row) -> NewItem:
    """An item with one answer, from a row of `answers`.  Raises UserError for any other row."""
    keys = [name for name in response_keys(len(row)) if row.get(name)]
    if "item" not in row or "prompt" not in row or not keys or keys != response_keys(len(keys)):
        raise UserError("a row has the columns item, labeller, prompt, r0, r1 …, and those of the answer")
    responses = [NewResponse(_turns(row[key], "assistant"), row.get(f"{key}_source") or None) for key in keys]
    out: Row = {}
    for name, text in row.items():
        if text not in ("", None):
            out[name] = int(text) if WHOLE.fullmatch(name) else json.loads(text) if LISTED.fullmatch(name) else text
    ranks = {key: out[f"rank-{key}"] for key in keys if f"rank-{key}" in out}
    value = gathered(out, keys) | ({"ranking": {"ranks": competition_ranks(ranks)}} if ranks else {})
    seconds, at = out.get("seconds"), out.get("at")
    spent = None if seconds is None else round(float(seconds) * 1000)
    given = Given(str(out.get("labeller") or "sheet"), value, spent, None if at is None else float(at))
    return NewItem(
        _turns(row["prompt"], "user"), responses, str(row["item"]), answers=[given] if value else [], origin=origin
    )


def _turns(text: str, role: str) -> list[Message]:
    if text.startswith("[{"):
        try:
            return [Message(str(turn["role"]), str(turn["content"])) for turn in json.loads(text)]
        except (ValueError, KeyError, TypeError):
            pass  # a text that begins so
    return [Message(role, text)] if text else []
