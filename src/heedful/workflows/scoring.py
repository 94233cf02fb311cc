"""`heed score`: a number for each response of a file, from a reward model, a named scorer or a function of your own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from heedful.examples import load, write_jsonl
from heedful.examples.io import check_writable
from heedful.scorers import SCORERS, Scorer, get
from heedful.scorers.reward_model import RewardModel
from heedful.training.progress import duration
from heedful.types import Example, UserError
from heedful.workflows.sampling import Echo, device_of, with_progress

AT_ONCE = 256
"""Examples that a reward model packs together."""
TRIED_EXAMPLES = 16


def score(
    judge: str, data: str, out: Path | str, *, device: str = "auto", dry_run: bool = False, echo: Echo = print
) -> Path:
    """Score every response of `data` and write the examples to `out` (JSON Lines, our schema); returns `out`.

    judge: a reward model (hub name, folder, run folder or checkpoint), a scorer's name (`pep8`, `parses`, `length`), or
    path/to/file.py:function.  data: anything `heed train data=` takes.
    `Response.reward` becomes the score, larger always better; a scorer for which smaller is better is negated there and
    stands as it is in `Response.extra` under its name.
    dry_run: only say what would be scored and how long that takes.  echo: where progress lines go.

    Raises UserError for a mistake in any of them, RunError if a function of the user's returns no numbers.
    """
    check_writable(out)
    scorer = get(judge) if judge in SCORERS or ".py:" in judge else None
    examples = load(data)
    if not any(example.responses for example in examples):
        raise UserError(f"{data} has no response to score; heed sample MODEL {data} samples some.")
    model = RewardModel(judge, device=device_of(device)) if scorer is None else None
    if dry_run:
        _describe(judge, model, examples, out, echo)
        return Path(out)
    if model is not None:
        parts = _parts(model, examples)
        set_rewards(examples, list(with_progress(parts, len(examples), "examples", echo)))
    elif scorer is not None:
        _set_scores(examples, scorer)
    write_jsonl(examples, out)
    return Path(out)


def set_rewards(examples: list[Example], rewards: list[list[float]]) -> None:
    """Hang the rewards on the responses."""
    for example, row in zip(examples, rewards, strict=True):
        for response, reward in zip(example.responses, row, strict=True):
            response.reward = reward


def _parts(model: RewardModel, examples: list[Example]) -> Iterator[list[float]]:
    for i in range(0, len(examples), AT_ONCE):
        yield from model.score(examples[i : i + AT_ONCE])


def _set_scores(examples: list[Example], scorer: Scorer) -> None:
    scores = scorer.examples(examples)
    set_rewards(examples, [[scorer.reward(s) for s in row] for row in scores])
    for example, row in zip(examples, scores, strict=True):
        for response, value in zip(example.responses, row, strict=True):
            response.extra[scorer.name] = value


def _describe(judge: str, model: RewardModel | None, examples: list[Example], out: Path | str, echo: Echo) -> None:
    num = sum(len(example.responses) for example in examples)
    echo(f"would score {num:,} responses to {len(examples):,} prompts with {judge}")
    if model is not None:
        size = sum(parameter.numel() for parameter in model.loaded.model.parameters())
        began = time.monotonic()
        model.score(examples[:TRIED_EXAMPLES])
        tried = min(TRIED_EXAMPLES, len(examples))
        echo(f"of {size:,} parameters ({4 * size / 2**30:.1f} GiB), on {model.loaded.model.device}")
        echo(f"in about {duration((time.monotonic() - began) / tried * len(examples))}, as far as {tried} prompts tell")
    echo(f"into {out}; nothing was written there")
