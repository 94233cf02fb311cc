"""`heed score`: numbers for each response of a file, from reward models, named scorers or functions of your own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from heedful.evaluation import summary
from heedful.examples import load, write_jsonl
from heedful.examples.io import check_writable
from heedful.progress import duration
from heedful.scorers import Scorer, get, needs_model
from heedful.scorers.dialogue import dialogue_text, knowledge_of, turns_of
from heedful.training.world import choose_device
from heedful.types import Echo, Example, UserError
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
    dry_run: only say what would be scored and how long that takes.  echo: where progress lines go.

    Raises UserError for a mistake in any of them, RunError if a function of the user's returns no numbers.
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
    rewards = [[0.0] * len(example.responses) for example in examples]
    for name, scorer in scorers:
        scores = list(_scores(name, scorer, examples, echo))
        rewards = [
            [reward + scorer.reward(value) for reward, value in zip(*rows, strict=True)]
            for rows in zip(rewards, scores, strict=True)
        ]
        keep_scores(examples, scorer.name, scores)
        if scorer.note():
            echo(f"{scorer.name}: {scorer.note()}")
    set_rewards(examples, rewards)
    write_jsonl(examples, out)
    _report(scorers, examples, echo)
    return Path(out)


def set_rewards(examples: list[Example], rewards: list[list[float]]) -> None:
    """Hang the rewards on the responses."""
    for example, row in zip(examples, rewards, strict=True):
        for response, reward in zip(example.responses, row, strict=True):
            response.reward = reward


def keep_scores(examples: list[Example], name: str, scores: list[list[float]]) -> None:
    """Hang the scores on the responses, in `extra` under this name."""
    for example, row in zip(examples, scores, strict=True):
        for response, value in zip(example.responses, row, strict=True):
            response.extra[name] = value


def _check_distinct(scorers: Sequence[tuple[str, Scorer]]) -> None:
    found: dict[str, str] = {}
    for name, scorer in scorers:
        if scorer.name in found:
            raise UserError(
                f"{found[scorer.name]} and {name} would both be written as {scorer.name!r}; score them apart"
            )
        found[scorer.name] = name


def _scores(name: str, scorer: Scorer, examples: list[Example], echo: Echo) -> Iterator[list[float]]:
    """Each example's scores; a function is given all examples at once, a model some, with a line on its progress."""
    if not needs_model(name):
        return iter(scorer.examples(examples))
    parts = (row for i in range(0, len(examples), AT_ONCE) for row in scorer.examples(examples[i : i + AT_ONCE]))
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
        scorer.examples(examples[:TRIED_EXAMPLES])
    tried = min(TRIED_EXAMPLES, len(examples))
    echo(f"in about {duration((time.monotonic() - began) / tried * len(examples))}, as far as {tried} prompts tell")
    echo(f"into {out}; nothing was written there")
