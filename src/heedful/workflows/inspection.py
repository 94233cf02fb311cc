"""Looking at data before training on it: what a run would see, and the same data in other formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heedful.config import TrainConfig
from heedful.types import UserError

if TYPE_CHECKING:
    from heedful.tokens.templates import Template
    from heedful.training.data import PreparedData


def check(config: TrainConfig, echo: Callable[[str], None] = print) -> PreparedData:
    """Prepare the data exactly as a run with these settings would, say what became of every row, and keep the tokens.

    Raises UserError where that run would be refused.
    """
    data, _ = _prepared(config, echo)
    return data


def show(config: TrainConfig, num: int = 3) -> None:
    """Print the tokens of the first `num` examples in colours: prompt, trained on, not trained on.

    Raises UserError where that run would be refused.
    """
    from rich.console import Console

    from heedful.tokens.show import coloured, from_store, legend

    if num < 1:
        raise UserError(f"num={num}: at least 1 example can be shown")
    data, template = _prepared(config, lambda line: None)
    console = Console(highlight=False)
    console.print(legend())
    for e in range(min(num, data.train.num_examples)):
        console.rule(data.train.origin(e))
        for text in coloured(from_store(data.train, e), template):
            console.print(text)


def new_model(out: Path, data: str, *, seed: int = 0, **settings: Any) -> Path:
    """A small untrained model whose tokenizer is trained on every text of `data` (anything `data=` takes).

    settings: see `heedful.models.new_model`.
    """
    from heedful.examples import load
    from heedful.models import new_model as write

    texts = (
        message.content
        for example in load(data, seed=seed)
        for messages in (example.prompt, *(response.messages for response in example.responses))
        for message in messages
    )
    return write(out, texts, seed=seed, **settings)


def convert(
    data: str,
    out: Path,
    *,
    to: str = "heedful",
    split: str = "train",
    reader: str | None = None,
    readers: Sequence[str] = (),
    seed: int = 0,
) -> int:
    """Write `data` (anything `data=` takes) to a .jsonl, .jsonl.gz or .parquet file; return the number of rows.

    to: `heedful` (our own schema, lossless) or one of TRL's formats; what a format cannot say is printed.
    """
    from heedful.examples import load
    from heedful.examples.export import export

    done = export(load(data, split=split, seed=seed, reader=reader, readers=readers), out, to)
    for note in done.notes:
        print(note)
    if done.dropped:
        print(f"{len(done.dropped):,} not written: {'; '.join(sorted({dropped.reason for dropped in done.dropped}))}")
    return done.rows


def _prepared(config: TrainConfig, echo: Callable[[str], None]) -> tuple[PreparedData, Template]:
    from heedful.training.context import cache_folder, check_models
    from heedful.training.data import prepare_data
    from heedful.training.shaping import load_template
    from heedful.training.train import resolve_objective
    from heedful.workflows.reference_value import find_values

    objective = resolve_objective(config)
    check_models(config)
    template = load_template(config, objective)
    return prepare_data(config, objective, template, cache_folder(config.cache_dir), echo, find_values), template
