"""What a preparation is: settings, and a function that writes parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heedful.examples import READERS
from heedful.examples.readers.reader import Asked, examples_of
from heedful.examples.rows import rows_of
from heedful.examples.shape import Dropped
from heedful.types import Example, UserError
from heedful.workflows.preparations.parts import Parts


class Settings(BaseModel):
    """What every preparation is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prepare: str = Field(description="which preparation")
    raw: Path = Field(description="folder of the published files")
    out: Path = Field(description="folder to write")
    seed: int = Field(901, ge=0, description="seed of everything drawn")


@dataclass(frozen=True)
class Preparation:
    """settings: the schema of what it is told.  run: writes the parts; raises UserError for malformed files."""

    settings: type[Settings]
    run: Callable[[Any, Parts], None]


def items_of(path: Path, reader: str, asked: Asked | None = None) -> Iterator[Example | Dropped]:
    """The Examples of a published file, and what its reader leaves out."""
    return examples_of(READERS[reader], rows_of(path), asked or Asked())


class Tokens:
    """How many tokens texts have for a tokenizer (a folder, or a hub name, of which only the tokenizer is fetched).

    Raises UserError if there is no such tokenizer.
    """

    def __init__(self, name: str) -> None:
        from heedful.models.tokenizers import load_tokenizer

        try:
            self.tokenizer = load_tokenizer(name)
        except UserError as error:
            raise UserError(
                f"tokenizer={name} cannot be had ({str(error).rstrip('.')}); fetch it and give its folder."
            ) from error

    def count(self, texts: list[str]) -> list[int]:
        """Tokens of each text, without marks around it."""
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []
