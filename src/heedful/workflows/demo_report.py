"""The demo's report: what happened, the table, curves, and samples side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heedful.reports import Section, blocks, metric_curves, read_run, run_details, write_report
from heedful.types import Example, Response
from heedful.workflows.demo import PRETRAINED
from heedful.workflows.demo_table import HEADERS, Measures, cells

NUM_SAMPLES = 8
ACCURACY = "eval/rewards/accuracies"
PREFERENCE_CURVES = ("loss", "train/rewards/accuracies", "train/rewards/margins")

WHAT = (
    "The functions of Python's standard library were scored by PEP 8, line by line, and two small language models "
    "pretrained on them: mle on the text as it is, conditional with a token before every line that says whether it is "
    "tidy. A third, base, was trained from nothing to write the body of a function, given its header. Its samples were "
    "judged by pycodestyle, pairs were made of tidier and less tidy bodies for the same header, and the model was "
    "aligned with them by each method. Below, every model completes headers from files that no training saw."
)
HOW = (
    "A body that is empty, unfinished or does not parse counts ten violations per 100 characters: nothing is tidy by "
    "not being Python. Docstrings are left out of the task, since prose is hardly judged. Brackets: 95 % interval of "
    "the difference to the base model (of conditional: to mle), by a bootstrap that resamples headers with all their "
    "samples. KL is estimated on the model's own samples, per sample. Success asks for fewer violations with an "
    "interval that excludes zero, no loss of parse share or of length (in characters and in statements), and code not "
    "untidier where it parses."
)


def write(
    out: Path,
    rows: Sequence[Measures],
    samples: Mapping[str, Sequence[Example]],
    seconds: Mapping[str, float],
    counts: Mapping[str, Any],
) -> Path:
    """Write `report.html` in the demo's folder.

    samples: by model, the scored samples of the same held-out headers.  seconds: by stage.  counts: of the data.
    """
    aligned = [name for name in samples if name not in (*PRETRAINED, "base")]
    runs = [read_run(out / name) for name in ("base", "reward", *aligned)]
    pretrained = [read_run(out / name) for name in PRETRAINED]
    preference = runs[2:]
    sections = [
        Section("Result", result_table(rows, seconds) + verdicts(rows) + _reward(out) + blocks.note(HOW)),
        Section("Samples", side_by_side(samples)),
        Section(
            "Curves",
            "<h3>Pretraining on scored functions</h3>"
            + metric_curves(pretrained, ["loss"], x="tokens")
            + "<h3>Base model</h3>"
            + metric_curves(runs[:1], ["loss"])
            + "<h3>Reward model</h3>"
            + metric_curves(runs[1:2], PREFERENCE_CURVES)
            + "<h3>Alignment</h3>"
            + metric_curves(preference, PREFERENCE_CURVES),
        ),
        Section("Data", blocks.facts(counts)),
        Section("Time", times(seconds)),
        *(s for s in run_details([*pretrained, *runs]) if s.title != "Data"),
    ]
    return write_report(out / "report.html", "Heedful's demo: tidier Python from feedback", sections, lead=_lead())


def _lead() -> str:
    return blocks.paragraph(WHAT)


def result_table(rows: Sequence[Measures], seconds: Mapping[str, float]) -> str:
    """The table, good and bad differences in colour."""
    body: list[list[str | blocks.Cell]] = []
    for row in rows:
        texts = cells(row, seconds.get(row.name), seconds.get(f"samples of {row.name}"))
        keys = [None, "violations", "violations_of_valid", "valid", "characters", "statements", *[None] * 5]
        body.append([_toned(text, row, key) for text, key in zip(texts, keys, strict=True)])
    return blocks.table(HEADERS, body)


def _toned(text: str, row: Measures, key: str | None) -> str | blocks.Cell:
    d = row.differences.get(key) if key else None
    if d is None or not d.excludes_zero:
        return text
    better = d.value < 0 if key in ("violations", "violations_of_valid") else d.value > 0
    return blocks.Cell(text, "good" if better else "bad")


def verdicts(rows: Sequence[Measures]) -> str:
    """A sentence on each method."""
    return "".join(
        f'<p><strong>{row.name}</strong>: <span class="{"good" if row.success else "bad"}">'
        f"{row.verdict.replace(':', '</span>:', 1)}</p>"
        for row in rows
        if row.success is not None
    )


def reward_note(run: Path) -> str:
    """How often the reward model agrees with PEP 8 on pairs it was not trained on."""
    found = [row[ACCURACY] for row in read_run(run).metrics if row.get(ACCURACY) is not None]
    return f"reward model: prefers the tidier body in {found[-1]:.0%} of the pairs it was not trained on"


def _reward(out: Path) -> str:
    return blocks.paragraph(reward_note(out / "reward") + ".")


def side_by_side(samples: Mapping[str, Sequence[Example]]) -> str:
    """The first sample of each model for headers evenly spaced over all of them: nobody picked them."""
    prompts = samples["base"]
    step = max(len(prompts) // NUM_SAMPLES, 1)
    parts = [
        blocks.note("The first sample of each model for headers evenly spaced over the held-out ones; not chosen.")
    ]
    for i in range(0, min(step * NUM_SAMPLES, len(prompts)), step):
        answers = [_answer(name, examples[i].responses[0]) for name, examples in samples.items()]
        parts.append(blocks.side_by_side(prompts[i].prompt[0].content.rstrip("\n"), answers))
    return "".join(parts)


def _answer(name: str, response: Response) -> blocks.Answer:
    if not response.extra["finished"]:
        return blocks.Answer(name, response.text, "unfinished", "bad")
    if not response.extra["parses"]:
        return blocks.Answer(name, response.text, "does not parse", "bad")
    rate = response.extra["pep8"]
    return blocks.Answer(name, response.text, f"{rate:.1f} / 100" if rate else "tidy", "bad" if rate else "good")


def times(seconds: Mapping[str, float]) -> str:
    """Wall time of each stage."""
    rows = [[name, f"{s:.1f}"] for name, s in seconds.items()]
    return blocks.table(["stage", "seconds"], [*rows, ["total", f"{sum(seconds.values()):.1f}"]])
