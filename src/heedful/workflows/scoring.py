"""`heed score`: a number for each response of a file, from a reward model, a named scorer or a function of your own."""

from __future__ import annotations

from pathlib import Path

from heedful.examples import load, write_jsonl
from heedful.scorers import SCORERS, get
from heedful.scorers.reward_model import RewardModel
from heedful.types import Example
from heedful.workflows.sampling import device_of


def score(judge: str, data: str, out: Path | str, *, device: str = "auto") -> Path:
    """Score every response of `data` and write the examples to `out` (JSON Lines, our schema); returns `out`.

    judge: a reward model (hub name, folder, run folder or checkpoint), a scorer's name (`pep8`, `parses`, `length`), or
    path/to/file.py:function.  data: anything `heed train data=` takes.
    `Response.reward` becomes the score, larger always better; a scorer for which smaller is better is negated there and
    stands as it is in `Response.extra` under its name.

    Raises UserError for a mistake in any of them, RunError if a function of the user's returns no numbers.
    """
    is_function = judge in SCORERS or ".py:" in judge
    scorer = get(judge) if is_function else None
    examples = load(data)
    if scorer is None:
        set_rewards(examples, RewardModel(judge, device=device_of(device)).score(examples))
    else:
        scores = scorer.examples(examples)
        set_rewards(examples, [[scorer.reward(s) for s in row] for row in scores])
        for example, row in zip(examples, scores, strict=True):
            for response, value in zip(example.responses, row, strict=True):
                response.extra[scorer.name] = value
    write_jsonl(examples, out)
    return Path(out)


def set_rewards(examples: list[Example], rewards: list[list[float]]) -> None:
    """Hang the rewards on the responses."""
    for example, row in zip(examples, rewards, strict=True):
        for response, reward in zip(example.responses, row, strict=True):
            response.reward = reward
