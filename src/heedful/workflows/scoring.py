"""`heed score`: numbers for each response of a file, from reward models, named scorers or functions of your own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from heedful.evaluation import summary
from heedful.examples import load, write_jsonl
from heedful.examples.io import check_writable, write_rows
from heedful.examples.rows import Row
from heedful.progress import duration
from heedful.scorers import Scorer, get, needs_model
from heedful.scorers.dialogue import dialogue_text, knowledge_of, turns_of
from heedful.training.world import choose_device
from heedful.types import Echo, Example, RunError, UserError
from heedful.workflows.sampling import with_progress

AT_ONCE = 256
"""Examples that a model is given together."""
TRIED_EXAMPLES = 16


def score(
    judges: str | Sequence[str],
    data: str,
    out: Path | str,
    *,
    device: str = "auto",
    dry_run: bool = False,
    echo: Echo = print,
) -> Path:
    """Score every response of `data` and write the examples to `out` (JSON Lines, our schema); returns `out`.

    judges: what `scorers.get` finds, one or several: a reward model (hub name, folder, run folder or checkpoint), a
    scorer's name (`pep8`, `cola_fluency:FOLDER`), path/to/file.py:function.  data: anything `heed train data=` takes.
    `Response.reward` becomes the score, larger always better, of several scorers their sum; each stands as it is in
    `Response.extra` under its name, and one for which smaller is better counts negated.
    A response that some scorer cannot judge is left out, counted, and listed with the reason in `OUT.failed`.
    dry_run: only say what would be scored and how long that takes.  echo: where progress lines go.

    Raises UserError for a mistake in any of them, RunError if a scorer can judge no response at all.
    """
    names = [judges] if isinstance(judges, str) else list(judges)
    if not names:
        raise UserError("nobody was named to score; heed score --list names the scorers")
    check_writable(out)
    examples = load(data)
    if not any(example.responses for example in examples):
        raise UserError(f"{data} has no response to score; heed sample MODEL {data} samples some.")
    scorers = [(name, get(name, device=str(choose_device(device)))) for name in names]
    _check_distinct(scorers)
    if dry_run:
        _describe(scorers, examples, out, echo)
        return Path(out)
    said = []
    for name, scorer in scorers:
        said.append(list(_scores(name, scorer, examples, echo)))
        if scorer.note():
            echo(f"{scorer.name}: {scorer.note()}")
    judged, failures = _judged([scorer for _, scorer in scorers], examples, said)
    _list_failures(failures, Path(f"{out}.failed"), echo)
    if not any(example.responses for example in judged):
        raise RunError(f"{data}: not one response could be scored: {failures[0]['reason']}")
    write_jsonl(judged, out)
    _report(scorers, judged, echo)
    return Path(out)


def _judged(
    scorers: Sequence[Scorer], examples: Sequence[Example], said: Sequence[Sequence[Sequence[float | str]]]
) -> tuple[list[Example], list[Row]]:
    """The examples with the scores of their responses, and a row for whatever could not be judged.

    said: by scorer, a score of every response of every example, or why there is none.
    """
    judged, failures = [], []
    for example, *of_example in zip(examples, *said, strict=True):
        kept = []
        for k, (response, *values) in enumerate(zip(example.responses, *of_example, strict=True)):
            found = list(zip(scorers, values, strict=True))
            where = {"origin": example.origin, "response": k}
            failures += [{**where, "scorer": s.name, "reason": why} for s, why in found if isinstance(why, str)]
            scores = [(scorer, value) for scorer, value in found if not isinstance(value, str)]
            if len(scores) == len(scorers):
                kept.append(k)
                response.reward = sum(scorer.reward(value) for scorer, value in scores)
                response.extra |= {scorer.name: value for scorer, value in scores}
        if kept or not example.responses:
            judged.append(_with_responses(example, kept))
    return judged, failures


def _with_responses(example: Example, kept: list[int]) -> Example:
    """The example with these of its responses; a verdict between two of which one is gone is gone too."""
    better, safer = (kept.index(k) if k in kept and len(kept) > 1 else None for k in (example.better, example.safer))
    of_pair = {"strength": None, "margin": None} if better is None and example.better is not None else {}
    return replace(example, responses=[example.responses[k] for k in kept], better=better, safer=safer, **of_pair)


def _list_failures(failures: Sequence[Row], path: Path, echo: Echo) -> None:
    """What could not be judged, in a file beside the scores; none is left there where all could."""
    path.unlink(missing_ok=True)
    if not failures:
        return
    write_rows(failures, path)
    for (name, reason), count in Counter((row["scorer"], row["reason"]) for row in failures).most_common():
        echo(f"{name}: {count:,} not scored: {reason}")
    echo(f"they are left out, and listed in {path}")


def _check_distinct(scorers: Sequence[tuple[str, Scorer]]) -> None:
    found: dict[str, str] = {}
    for name, scorer in scorers:
        if scorer.name in found:
            raise UserError(
                f"{found[scorer.name]} and {name} would both be written as {scorer.name!r}; score them apart"
            )
        found[scorer.name] = name


def _scores(name: str, scorer: Scorer, examples: list[Example], echo: Echo) -> Iterator[list[float | str]]:
    """Each example's scores, or why there are none.

    A function is given all examples at once, a model some, with a line on its progress.
    """
    if not needs_model(name):
        return iter(scorer.each(examples))
    parts = (row for i in range(0, len(examples), AT_ONCE) for row in scorer.each(examples[i : i + AT_ONCE]))
    return with_progress(parts, len(examples), "examples", echo)


def _report(scorers: Sequence[tuple[str, Scorer]], examples: list[Example], echo: Echo) -> None:
    """Say what the scores are on average, and what the responses are like as texts."""
    pairs = [(example, response) for example in examples for response in example.responses]
    columns = {scorer.name: [response.extra[scorer.name] for _, response in pairs] for _, scorer in scorers}
    if len(scorers) > 1:
        columns["reward"] = [response.reward for _, response in pairs]
    for name, values in columns.items():
        echo(f"{name}: mean {np.mean(values):.4g}, from {min(values):.4g} to {max(values):.4g}")
    knowledge = [knowledge_of(turns_of(dialogue_text(example))) for example, _ in pairs]
    sources = [source for source in knowledge if source is not None]
    found = summary([response.text for _, response in pairs], sources if len(sources) == len(pairs) else None)
    echo("texts: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))


def _describe(scorers: Sequence[tuple[str, Scorer]], examples: list[Example], out: Path | str, echo: Echo) -> None:
    num = sum(len(example.responses) for example in examples)
    echo(f"would score {num:,} responses to {len(examples):,} prompts with {', '.join(name for name, _ in scorers)}")
    began = time.monotonic()
    for name, scorer in scorers:
        echo(f"{name}: {scorer.about}")
        scorer.each(examples[:TRIED_EXAMPLES])
    tried = min(TRIED_EXAMPLES, len(examples))
    echo(f"in about {duration((time.monotonic() - began) / tried * len(examples))}, as far as {tried} prompts tell")
    echo(f"into {out}; nothing was written there")
