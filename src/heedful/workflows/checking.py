"""`heed check`: the proof of objectives on this machine, as a table."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heedful.config import load, settings_model
from heedful.objectives import REGISTRY, get
from heedful.objectives.reduce import Objective
from heedful.objectives.settings import required_settings
from heedful.proofs.invariances import WAYS
from heedful.proofs.oracles import Oracles, oracles_of
from heedful.proofs.prove import COLUMNS, NONE_GIVEN, Proofs, prove
from heedful.proofs.stage import Stage
from heedful.proofs.verdict import Arithmetic, Precision, Verdict
from heedful.proofs.worked import digits
from heedful.training.world import choose_device
from heedful.types import Echo, RunError, UserError

CELL = 10
"""Least width of a cell, so that every verdict fits it."""


def check(
    words: Sequence[str] = (),
    *,
    precision: Precision = "fp32",
    device: str = "auto",
    as_json: bool = False,
    echo: Echo = print,
) -> None:
    """Prove objectives, a row of a table each, and say of whatever fails why and how to mend it.

    words: objectives by name or path/to/file.py:function (all of ours if none), and settings of a single one as
    key=value.  precision: of the model's forward; bf16 computes there in bfloat16.  as_json: one JSON object instead
    of the table.

    Raises UserError for a name or setting that is not there, RunError naming the objectives that failed.
    """
    began = time.monotonic()
    objectives = _objectives(words)
    arithmetic = Arithmetic(precision, choose_device(device))
    if precision == "fp64" and arithmetic.device.type == "mps":
        raise UserError("this GPU has no float64; say --dtype fp32, or --device cpu")
    say = (lambda line: None) if as_json else echo
    width = max(len(objective.name) for objective in objectives)
    for line in _head(arithmetic, width):
        say(line)
    proofs: dict[str, Proofs] = {}
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), arithmetic)
        for objective in objectives:
            proofs[objective.name] = prove(objective, _oracles(objective), stage)
            say(_line(objective.name, [_cell(proofs[objective.name][column]) for column in COLUMNS], width))
    seconds = time.monotonic() - began
    if as_json:
        echo(json.dumps(_plain(arithmetic, proofs, seconds), indent=1))
    _conclude(proofs, seconds, say)


def _objectives(words: Sequence[str]) -> list[Objective]:
    """What the words name, with their settings."""
    names = [word for word in words if "=" not in word] or list(REGISTRY)
    settings = [word for word in words if "=" in word]
    if settings and len(names) > 1:
        raise UserError(f"{settings[0]} is a setting of one objective; name that one alone, as heed check dpo beta=0.2")
    found = [(name, get(name)) for name in dict.fromkeys(names)]
    return [Objective(name, function, _settings(function, settings)) for name, function in found]


def _settings(function: Callable, words: Sequence[str]) -> dict[str, Any]:
    """The words, and for a setting that is required and not among them the value that the objective is proved at."""
    given = {word.partition("=")[0] for word in words}
    known = [f"{name}={value}" for name, value in required_settings(function).items() if name not in given]
    return load(settings_model(function), (), [*known, *words]).model_dump()


def _oracles(objective: Objective) -> Oracles:
    """Ours; for a function of the user's own, the function NAME_oracle beside it, at these settings."""
    if objective.name in REGISTRY:
        return oracles_of(objective.name)
    own = f"{objective.function.__name__}_oracle"
    oracle = getattr(sys.modules[objective.function.__module__], own, None)
    return {} if oracle is None else {objective.name: (oracle, [objective.own_settings])}


def _head(arithmetic: Arithmetic, width: int) -> list[str]:
    exact, forward = arithmetic.objective_tolerance, arithmetic.model_tolerance
    limits = [exact, exact, digits(arithmetic), exact] + [forward] * len(WAYS)
    return [
        f"In {arithmetic.precision} on {arithmetic.device.type}: the largest deviation of each proof, and its limit",
        _line("objective", COLUMNS, width),
        _line("", [f"≤ {limit:.0e}" for limit in limits], width),
    ]


def _line(name: str, cells: Sequence[str], width: int) -> str:
    padded = [cell.ljust(max(CELL, len(column))) for cell, column in zip(cells, COLUMNS, strict=True)]
    return "  ".join([name.ljust(max(width, len("objective"))), *padded]).rstrip()


def _cell(verdict: Verdict) -> str:
    if verdict.absent is not None:
        return "none given" if verdict == NONE_GIVEN else "-"
    number = "" if verdict.deviation is None else f"{verdict.deviation:.0e}"
    return (number or "ok") if verdict.passed else f"FAIL {number}".rstrip()


def _conclude(proofs: dict[str, Proofs], seconds: float, say: Echo) -> None:
    """Say what the table comes to.  Raises RunError if anything failed."""
    failed = {
        name: [column for column in COLUMNS if not row[column].passed]
        for name, row in proofs.items()
        if not all(verdict.passed for verdict in row.values())
    }
    say("")
    for name in proofs:
        if proofs[name]["oracle value"] == NONE_GIVEN:
            oracle = f"{name.rpartition(':')[2]}_oracle(batch, stats, settings)"
            say(f"{name} has no oracle; a function {oracle} in the same file would be one.")
    if not failed:
        say(f"Nothing failed: {_counted(len(proofs))}, in {seconds:.0f} s.")
        return
    for name, columns in failed.items():
        for problem in dict.fromkeys(proofs[name][column].problem for column in columns):
            where = [column for column in columns if proofs[name][column].problem == problem]
            say(f"{name}: {'every proof' if len(where) == len(COLUMNS) else ', '.join(where)}: {problem}.")
    named = "; ".join(f"{name} ({', '.join(columns)})" for name, columns in failed.items())
    raise RunError(f"{len(failed)} of {_counted(len(proofs))} failed: {named}")


def _counted(num: int) -> str:
    return f"{num} objective{'' if num == 1 else 's'}"


def _plain(arithmetic: Arithmetic, proofs: dict[str, Proofs], seconds: float) -> dict[str, Any]:
    def shown(verdict: Verdict) -> dict[str, Any]:
        measured = verdict.deviation is not None and math.isfinite(verdict.deviation)
        return {
            "passed": verdict.passed,
            "deviation": verdict.deviation if measured else None,
            "tolerance": verdict.tolerance,
            "problem": verdict.problem,
            "absent": verdict.absent,
        }

    return {
        "dtype": arithmetic.precision,
        "device": arithmetic.device.type,
        "time_s": round(seconds, 1),
        "objectives": {
            name: {column: shown(verdict) for column, verdict in row.items()} for name, row in proofs.items()
        },
    }
