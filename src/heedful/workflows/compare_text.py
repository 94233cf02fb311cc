"""A comparison in words: the table's columns as text, and the notes that qualify them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from heedful.workflows.compare_measure import BASE, DATA
from heedful.workflows.compare_plan import BUDGET, Plan, differing
from heedful.workflows.compare_table import Row
from heedful.workflows.judges import REWARD
from heedful.workflows.measure import Interval

OPPONENTS = {BASE: "wins over base", DATA: "wins over the data's answers"}
SHORT = ("reward", "wins over base", "KL, nats a token", "failed")
"""What of the table the terminal shows."""


def columns(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """(header, cells) of every column that any row has something for."""
    judges = list(rows[0].measures.rewards)
    shown = [REWARD, *(j for j in judges if j != REWARD)] if len(judges) > 2 else judges[-1:]
    found = [
        (f"reward by {name}" if name != REWARD else "reward", [_reward(row, name) for row in rows]) for name in shown
    ]
    for judge in rows[0].measures.wins:
        by = "" if judge == REWARD else f" by {judge}"
        for other, what in OPPONENTS.items():
            found.append((f"{what}{by}", [_percent(row.measures.wins[judge].get(other)) for row in rows]))
    found += [
        ("KL, nats a token", [_interval(row.measures.kl_per_token, 4) for row in rows]),
        ("KL, nats an answer", [_interval(row.measures.kl, 2) for row in rows]),
        ("tokens an answer", ["" if row.measures.tokens is None else f"{row.measures.tokens:.1f}" for row in rows]),
        ("distinct-2", [f"{row.measures.distinct[2]:.3f}" for row in rows]),
        ("failed", [_failed(row) for row in rows]),
        ("validation reward", [_validation(row) for row in rows]),
        ("measured after step", [_steps(row) for row in rows]),
        ("eval loss", [_number(row.metrics.get("eval/loss")) for row in rows]),
        ("tokens trained on", ["" if row.cost is None else f"{row.cost.tokens:,}" for row in rows]),
        ("seconds", ["" if row.cost is None else f"{row.cost.seconds:,.1f}" for row in rows]),
        ("peak memory, GiB", ["" if row.cost is None else f"{row.cost.peak_memory_bytes / 2**30:.2f}" for row in rows]),
    ]
    return [(header, cells) for header, cells in found if any(cells)]


def texts(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of the table."""
    found = columns(rows)
    lines = [[row.name, *(cells[i] for _, cells in found)] for i, row in enumerate(rows)]
    return ["model", *(header for header, _ in found)], lines


def _reward(row: Row, name: str) -> str:
    interval = row.measures.rewards.get(name)
    return "" if interval is None else _interval(interval, 3)


def _interval(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return ""
    value, low, high = (f"{round(number, digits) + 0.0:.{digits}f}" for number in astuple(interval))  # no -0.00
    return f"{value} [{low}, {high}]"


def _percent(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _failed(row: Row) -> str:
    """The share of answers that are empty or unfinished, and of those that are empty."""
    m = row.measures
    return f"{m.failed:.0%}" + (f" ({m.empty:.0%} empty)" if m.empty else "")


def _validation(row: Row) -> str:
    """At the start, at the measured step, at the end."""
    return " → ".join(f"{value:.3f}" for value in row.validation)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _steps(row: Row) -> str:
    return "" if row.num_steps is None else f"{row.measured_step} of {row.num_steps}"


def notes(plan: Plan, rows: Sequence[Row], num_validation: int) -> list[str]:
    """What should be known beside the numbers, the most important first."""
    asked, base = plan.config, rows[0].measures
    kl = (
        ""
        if any(row.measures.kl for row in rows)
        else "; no KL: the answers were not drawn at temperature 1 and top_p 1"
    )
    lines = [
        *unequal(plan, rows),
        f"{base.num_prompts:,} held-out prompts, {asked.samples_per_prompt} answers each, with the same random numbers "
        f"for every model{kl}",
        "brackets: 95 % intervals of a bootstrap that resamples prompts with all their answers",
    ]
    if asked.judges:
        lines.append(
            f"reward: {' + '.join(f'{weight:g} × {name}' for name, weight in asked.judges.items())}; an empty or "
            "unfinished answer counts at most what the worst of the data's own answers does, and wins over none; ties "
            "count half"
        )
    if num_validation:
        watched = plan.first.keep_best
        best = f"; measured is the best by {watched}, the model it started from being step 0" if watched else ""
        lines.append(f"validated on the answers to {num_validation:,} other prompts at every evaluation{best}")
    same = [row.name for row in rows if row.measured_step == 0]
    if same:
        lines.append(f"no step was better than the model it started from: {', '.join(same)}")
    return lines


def is_warning(line: str) -> bool:
    """Whether a note says that members did not have the same."""
    return line.startswith("NOT ")


def unequal(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """In what the members did not have the same: data they could use, order, budget."""
    lines = []
    used = {row.name: row.used["examples_used"] for row in rows if row.used}
    if len(set(used.values())) > 1:
        counts = ", ".join(f"{name} {count:,}" for name, count in used.items())
        lines.append(f"NOT THE SAME DATA: of the examples, each could use {counts}; their order differs too")
    for name, values in differing(plan.members).items():
        if name in BUDGET:
            lines.append(f"NOT THE SAME {name}: {', '.join(f'{run} {value}' for run, value in values.items())}")
    return lines
