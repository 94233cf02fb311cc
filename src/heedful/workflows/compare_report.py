"""The files of a comparison: table.csv, table.json, table.md, and report.html with curves and answers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from heedful.reports import Run, Section, blocks, curve_of_each, metric_curves, read_run, write_report
from heedful.types import Echo
from heedful.workflows.compare_measure import BASE, DATA, Answers
from heedful.workflows.compare_plan import Plan, chain_name, differing
from heedful.workflows.compare_table import Row
from heedful.workflows.compare_text import OPPONENTS, SHORT, is_warning, notes, texts
from heedful.workflows.judges import REWARD
from heedful.workflows.measure import Interval
from heedful.workflows.tables import print_short, to_markdown, write_csv, write_json, write_text

EVALUATION = "evaluation.json"
"""In the folder of each run: what its model's answers measured."""
NUM_SAMPLES = 8
CURVES = ("eval/reward", "eval/failed", "eval/answer_tokens", "eval/rewards/accuracies", "train/kl", "train/entropy")
LEAD = (
    "Every model below was trained from the same model and answered the same held-out prompts, which no training saw."
)
SAME = " Every run saw the same data in the same order, as long as the others; a chain is several runs."


def write_all(plan: Plan, rows: Sequence[Row], answers: Sequence[Answers], num_validation: int, echo: Echo) -> Path:
    """Print the table and write every file of the comparison; returns the report's path.

    rows, answers: the base model first, then the members, then the data's own answers.
    """
    said = notes(plan, rows, num_validation)
    headers, lines = texts(rows)
    print_short("Answers to held-out prompts", headers, lines, SHORT)
    for line in said:
        echo(line)
    write_csv(plan.out / "table.csv", [row.flat() for row in rows])
    content = {
        "settings": plan.config.model_dump(mode="json"),
        "notes": said,
        "models": [row.to_json() for row in rows],
    }
    write_json(plan.out / "table.json", content)
    write_text(plan.out / "table.md", to_markdown(headers, lines, said))
    for row in rows:
        if row.run is not None:
            write_json(row.run.path / EVALUATION, row.to_json())
    return write_page(plan, rows, answers, said)


def said_below(said: Sequence[str]) -> str:
    """The notes under a table, those in red that say what was not the same."""
    return "".join((blocks.warning if is_warning(line) else blocks.note)(line) for line in said)


def write_page(plan: Plan, rows: Sequence[Row], answers: Sequence[Answers], said: Sequence[str]) -> Path:
    """`report.html`: one file, nothing from anywhere else."""
    runs = [replace(read_run(run.path), name=run.name) for run in plan.members]
    result = result_table(rows) + said_below(said)
    sections = [
        Section("Result", result),
        *([Section("Win rates", win_tables(rows))] if rows[0].measures.wins else []),
        Section("Curves", metric_curves(runs, judged_curves(runs), x="tokens")),
        Section("Losses, each on its own scale", curve_of_each(runs, "loss", x="tokens")),
        Section("Answers", side_by_side(answers)),
        Section("Settings that differ", settings_table(differing(plan.members))),
        Section("Data", data_table(rows)),
        Section("Settings", blocks.folded("of the first run", blocks.facts(plan.first.model_dump(mode="json")))),
    ]
    lead = LEAD + ("" if any(map(is_warning, said)) else SAME)
    objectives = list(dict.fromkeys(chain_name(run) for run in plan.members))
    return write_report(
        plan.out / "report.html", f"Comparison of {', '.join(objectives)}", sections, lead=blocks.paragraph(lead)
    )


def judged_curves(runs: Sequence[Run]) -> list[str]:
    """What is drawn: the metrics that objectives have in common, and the reward by each of several judges."""
    judges = {key for run in runs for row in run.metrics for key in row if key.startswith(f"eval/{REWARD}/")}
    return [*CURVES[:1], *(sorted(judges) if len(judges) > 1 else []), *CURVES[1:]]


def result_table(rows: Sequence[Row]) -> str:
    """The table turned on its side; rewards and win rates that are better or worse beyond doubt in colour."""
    headers, lines = texts(rows)
    body: list[list[str | blocks.Cell]] = []
    for k, header in enumerate(headers[1:], start=1):
        body.append([header, *(_toned(header, line[k], row) for line, row in zip(lines, rows, strict=True))])
    return blocks.table(["", *(row.name for row in rows)], body)


def _toned(header: str, text: str, row: Row) -> str | blocks.Cell:
    if row.name in (BASE, DATA):
        return text
    kind, _, judge = header.partition(" by ")
    if kind == REWARD and (gain := row.measures.gains.get(judge or REWARD)) is not None and gain.excludes_zero:
        return blocks.Cell(text, "good" if gain.value > 0 else "bad")
    opponent = next((other for other, what in OPPONENTS.items() if what == kind), None)
    return text if opponent is None else blocks.Cell(text, win_tone(row.measures.wins[judge or REWARD][opponent]))


def win_tone(wins: Interval) -> blocks.Tone | None:
    """Whether more or fewer than half are won beyond doubt."""
    if wins.low > 0.5:
        return "good"
    return "bad" if wins.high < 0.5 else None


def win_tables(rows: Sequence[Row]) -> str:
    """How often the row's answers have the larger reward than the column's, on the same prompts; a table a judge."""
    judges = list(rows[0].measures.wins)
    titles = {judge: "" if len(judges) == 1 else f"<h3>{escape(judge)}</h3>" for judge in judges}
    return "".join(
        titles[judge] + _win_table([(row.name, row.measures.wins[judge]) for row in rows]) for judge in judges
    )


def _win_table(rows: Sequence[tuple[str, Mapping[str, Interval]]]) -> str:
    names = [name for name, _ in rows]
    body: list[list[str | blocks.Cell]] = [
        [name, *(_win_cell(wins[other]) if other in wins else "" for other in names)] for name, wins in rows
    ]
    return blocks.table(["of row over column", *names], body)


def _win_cell(wins: Interval) -> blocks.Cell:
    return blocks.Cell(f"{wins.value:.0%} [{wins.low:.0%}, {wins.high:.0%}]", win_tone(wins))


def side_by_side(answers: Sequence[Answers]) -> str:
    """The first answer of each model to prompts evenly spaced over all of them: nobody picked them."""
    prompts = answers[0].examples
    step = max(len(prompts) // NUM_SAMPLES, 1)
    parts = [blocks.note("The first answer of each to prompts evenly spaced over the held-out ones; not chosen.")]
    for i in range(0, min(step * NUM_SAMPLES, len(prompts)), step):
        found = [_answer(each, int(at)) for each in answers for at in (each.prompts == i).nonzero()[0]]
        turns = prompts[i].prompt
        text = turns[0].content if len(turns) == 1 else "\n".join(f"{turn.role}: {turn.content}" for turn in turns)
        parts.append(blocks.side_by_side(text.rstrip("\n"), found))
    return "".join(parts)


def _answer(answers: Answers, row: int) -> blocks.Answer:
    response = answers.examples[row].responses[0]
    if response.is_empty or response.is_unfinished:
        return blocks.Answer(answers.name, response.text, "empty" if response.is_empty else "unfinished", "bad")
    score = f"{answers.rewards[REWARD][row, 0]:.2f}" if answers.rewards else ""
    return blocks.Answer(answers.name, response.text, score)


def settings_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What the members differ in, one line a member."""
    if not found:
        return blocks.note("Nothing.")
    names = list(next(iter(found.values())))
    body = [[name, *(json.dumps(row[name], ensure_ascii=False).strip('"') for row in found.values())] for name in names]
    return blocks.table(["", *found], body, words=True)


def data_table(rows: Sequence[Row]) -> str:
    """How much of the data each member could use."""
    used = {row.name: row.used for row in rows if row.used}
    keys = list(next(iter(used.values())))
    body = [[name, *(f"{counts[key]:,}" for key in keys)] for name, counts in used.items()]
    return blocks.table(["", *(key.replace("_", " ") for key in keys)], body)
