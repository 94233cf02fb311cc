"""Text to numbers.  `SCORERS` and `FILE_SCORERS` are the index; `get` finds reward models and your functions too."""

from __future__ import annotations

import difflib
from pathlib import Path

from heedful.scorers.lexicon import regex
from heedful.scorers.pii import pii
from heedful.scorers.published import FILE_SCORERS, FileScorer
from heedful.scorers.python_code import PEP8_FAILURE, parses, pep8, pep8_documents, statements
from heedful.scorers.scorer import ScoreFunction, Scorer, prompt_text
from heedful.scorers.text import length
from heedful.scorers.user import load_user_scorer
from heedful.types import UserError
from heedful.user_file import names_file

SCORERS: dict[str, Scorer] = {
    s.name: s
    for s in (
        Scorer(
            "pep8",
            pep8,
            True,
            PEP8_FAILURE,
            "PEP 8 violations per 100 characters of Python; of documents per character, and of each line",
            document=pep8_documents,
            split="lines",
        ),
        Scorer("parses", parses, False, 0.0, "whether prompt and response are Python that parses"),
        Scorer("statements", statements, False, 0.0, "statements of Python, which comments and strings do not add to"),
        Scorer("length", length, False, None, "characters of the response"),
    )
}
"""Scorers that need no model, by name."""


PATTERN_SCORERS = {
    "pii": "findings of personal information per character; pii:scrubadub, pii:SPACY_MODEL",
    "regex": "matches of a pattern per character; regex:PATTERN, or regex:FILE with one a line",
}
"""Scorers by patterns, with what may follow the name; smaller is better."""


def get(name: str, *, device: str = "cpu") -> Scorer:
    """The scorer that `name` says, larger or smaller better as it says itself.

    name: one of `SCORERS`; one of `FILE_SCORERS` with its files, as `cola_fluency:FOLDER`; a function of your own as
    `path/to/file.py:function`; or a reward model (folder, run folder, checkpoint or hub name `owner/name`).
    device: where a model runs.

    Raises UserError if there is none of that name, or something is wrong with its files.
    """
    if name in SCORERS:
        return SCORERS[name]
    head, _, files = name.partition(":")
    if head == "pii":
        return pii(files)
    if head == "regex" and files:
        return regex(files)
    if names_file(name):
        return load_user_scorer(name)
    if head in FILE_SCORERS:
        return FILE_SCORERS[head].load(files, device)
    if "/" in name or Path(name).expanduser().exists():
        return _reward_model(name, device)
    known = [*SCORERS, *PATTERN_SCORERS, *FILE_SCORERS]
    near = difflib.get_close_matches(head, known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"There is no scorer {name!r}, and no such folder.{hint} There are {', '.join(known)}, "
        "reward-model folders, and functions of your own as path/to/file.py:function."
    )


def table() -> list[tuple[str, str, str]]:
    """One row a scorer: how it is named, what it reads and gives, where its files come from (empty: it needs none)."""
    rows = [(s.name, s.about + ("; smaller is better" if s.lower_is_better else ""), "") for s in SCORERS.values()]
    rows += [(name, f"{about}; smaller is better", "") for name, about in PATTERN_SCORERS.items()]
    rows += [(f"{s.name}:{s.form}", f"{s.reads} → {s.values}", s.source) for s in FILE_SCORERS.values()]
    return rows


def needs_model(name: str) -> bool:
    """Whether the scorer `name` asks a model, which takes its time."""
    plain = name in SCORERS or name.partition(":")[0] in (*PATTERN_SCORERS, "lexicon")
    return not plain and ".py:" not in name


def _reward_model(name: str, device: str) -> Scorer:
    from heedful.scorers.open_assistant import is_open_assistant
    from heedful.scorers.reward_model import RewardModel

    if is_open_assistant(name):
        return FILE_SCORERS["open_assistant"].load(name, device)
    return RewardModel(name, device=device).scorer()


__all__ = [
    "FILE_SCORERS",
    "PATTERN_SCORERS",
    "PEP8_FAILURE",
    "SCORERS",
    "FileScorer",
    "ScoreFunction",
    "Scorer",
    "get",
    "length",
    "needs_model",
    "parses",
    "pep8",
    "prompt_text",
    "statements",
    "table",
]
